"""FunMatch's schedules (Beyer et al. 2022, table 1) on Flowers, Pet and Food: BiT ResNet-152x2 → BiT ResNet-50.

    raykd study studies/funmatch --rows "from scratch, labels" "FunMatch, fast"
    raykd report runs/studies/funmatch

Cost: 20 thousand steps of batch 512 at 128 pixels on the fast schedule, 2 million on Flowers' long one. The teachers,
which are fine-tuned first, are larger than those of the recipes in flowers102, pet37 and food101.
Measured: not run here.
"""

from dataclasses import replace
from types import ModuleType

from raykd.methods.funmatch import FunMatch
from raykd.models.config import Network
from raykd.recipe import Recipe, Teachers, Train
from raykd.recipe.study import Column, Quotes, Row, Study
from raykd.recipes.flowers102 import fast as flowers_fast
from raykd.recipes.flowers102 import long as flowers_long
from raykd.recipes.flowers102 import medium as flowers_medium
from raykd.recipes.flowers102 import supervised
from raykd.recipes.food101 import fast as food_fast
from raykd.recipes.food101 import long as food_long
from raykd.recipes.food101 import medium as food_medium
from raykd.recipes.pet37 import fast as pet_fast
from raykd.recipes.pet37 import long as pet_long
from raykd.recipes.pet37 import medium as pet_medium

SCHEDULES = {
    "fast": {"Flowers": flowers_fast, "Pet": pet_fast, "Food": food_fast},
    "medium": {"Flowers": flowers_medium, "Pet": pet_medium, "Food": food_medium},
    "long": {"Flowers": flowers_long, "Pet": pet_long, "Food": food_long},
}


def of_paper(recipe: Recipe) -> Recipe:
    """A student's recipe with the paper's own teacher."""
    (source,) = recipe.teachers.sources
    large = Network(name="timm:resnetv2_152x2_bit.goog_in21k", weights="pretrained")
    return replace(recipe, teachers=Teachers(sources=(Train(recipe=replace(source.recipe, student=large)),)))


def schedule(name: str, recipes: dict[str, ModuleType]) -> Row:
    """A row whose length, rates and temperature are each column's own."""
    own = {
        column: {
            "epochs": module.recipe.epochs,
            "optimizer": module.recipe.optimizer,
            "evaluate_every": module.recipe.evaluate_every,
            "method": module.recipe.method,
        }
        for column, module in recipes.items()
    }
    return Row(name=f"FunMatch, {name}", method=FunMatch.Config(), in_column=own)


LABELS = {"data.mixing": supervised.recipe.data.mixing}

study = Study(
    rows=(
        Row(name="from scratch, labels", method=supervised.recipe.method, changes=LABELS),
        *(schedule(name, recipes) for name, recipes in SCHEDULES.items()),
    ),
    columns=(
        Column(
            name="Flowers",
            recipe=of_paper(flowers_fast.recipe),
            published=Quotes(dataset="Flowers102", teacher="BiT-R152x2", student="BiT-R50x1"),
        ),
        Column(
            name="Pet",
            recipe=of_paper(pet_fast.recipe),
            published=Quotes(dataset="Pet37", teacher="BiT-R152x2", student="BiT-R50x1"),
        ),
        Column(
            name="Food",
            recipe=of_paper(food_fast.recipe),
            published=Quotes(dataset="Food101", teacher="BiT-R152x2", student="BiT-R50x1"),
        ),
    ),
    baseline="from scratch, labels",
    published=("published/funmatch.csv",),
)
