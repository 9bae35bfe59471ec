"""The model card of a deployed network, a README.md for the Hugging Face hub, with only what the run has measured."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from raykd import UserError, __version__
from raykd.data.transforms import Resize
from raykd.deploy.deployed import Deployed
from raykd.models.config import LIBRARIES
from raykd.models.staged import parameters
from raykd.output import printable
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.labels import labels
from raykd.recipe.serial import to_dict
from raykd.runs.results.models import Accuracy, Evaluation, FullAccuracy
from raykd.runs.results.read import read_evaluation

TEMPLATE = Path(__file__).parent / "card.md.j2"
IN_TIMM = """import timm

model = timm.create_model("local-dir:{folder}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
logits = model(transform(picture)[None])  # an RGB image of PIL"""
IN_RAYKD = """from raykd.models import create

network = create("{network}", {classes}, {size}, weights="{folder}/model.safetensors"{options}).eval()
logits = network(images)  # float32 [N, 3, {size}, {size}], normalised"""


@dataclass(frozen=True)
class _Facts:
    """The results of a run for its deployed network."""

    deployed: Deployed
    evaluation: Evaluation
    student: FullAccuracy

    @property
    def images(self) -> int:
        return sum(self.student.per_class_count)

    @property
    def split(self) -> str:
        return "test split" if self.evaluation.split == "test" else "part of the training split that was held out"


def model_card(deployed: Deployed, folder: str, library: str) -> str:
    """The card's text. folder: name of the model's folder. library: "timm" or "raykd", which loads it.

    Raises UserError if the run has not ended.
    """
    evaluation = read_evaluation(deployed.run)
    if evaluation is None or deployed.result is None:
        raise UserError(f"{deployed.run} has no evaluation.json, which the model card needs: train the run to its end")
    facts = _Facts(deployed, evaluation, next(iter(evaluation.networks.values())))
    about, recipe, result = deployed.about, deployed.recipe, deployed.result
    title = printable(result.name)
    card = ModelCard.from_template(
        _header(facts, title, library),
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        title=title,
        network=_kind(about.network),
        classes=[printable(name) for name in about.classes],
        size=about.image_size,
        method=result.method,
        teaching=_teaching(evaluation),
        use=_use(deployed, folder, library),
        preprocessing=_preprocessing(deployed),
        source=f"{labels(to_dict(recipe)).data} ({recipe.data.source.description or 'a user-defined source'})",
        epochs=f"{recipe.epochs:g}",
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        start=_start(recipe.student.weights),
        paper=(sys.modules[type(recipe.method).__module__].__doc__ or "").strip(),
        images=facts.images,
        split=facts.split,
        rows=list(_rows(facts)),
        cost=_cost(facts),
        limits=list(_limits(facts)),
        recipe=fingerprint(recipe),
        commit=f", commit {result.git}" if result.git else "",
        version=__version__,
    )
    return str(card)


def _header(facts: _Facts, title: str, library: str) -> ModelCardData:
    source = facts.deployed.recipe.data.source.name or "own"
    accuracy = EvalResult(
        task_type="image-classification",
        dataset_type=source,
        dataset_name=source,
        dataset_split=facts.evaluation.split,
        metric_type="accuracy",
        metric_name="top-1",
        metric_value=round(facts.student.top1, 4),
    )
    tags = ["image-classification", "knowledge-distillation", "raykd"]
    return ModelCardData(
        library_name=library,
        pipeline_tag="image-classification",
        tags=tags + ["timm"] * (library == "timm"),
        metrics=["accuracy"],
        model_name=title,
        eval_results=[accuracy],
    )


def _teaching(evaluation: Evaluation) -> str:
    names = ", ".join(map(_kind, evaluation.teachers))
    return f"; it learned from {names}" if names else ""


def _kind(network: str) -> str:
    library, colon, name = network.partition(":")
    return f"{name} of {library}" if colon and library in LIBRARIES else network


def _start(weights: str) -> str:
    if weights == "pretrained":
        return "It started from its library's pretrained weights."
    return f"It started from the weights of {Path(weights).name}." if weights else "It started from random weights."


def _use(deployed: Deployed, folder: str, library: str) -> str:
    about = deployed.about
    if library == "timm":
        return IN_TIMM.format(folder=folder)
    options = f", options={dict(about.options)}" if about.options else ""
    values = {"network": about.network, "classes": len(about.classes), "size": about.image_size}
    return IN_RAYKD.format(folder=folder, options=options, **values)


def _preprocessing(deployed: Deployed) -> str:
    about, steps = deployed.about, []
    for step in deployed.data.test:
        if isinstance(step, Resize):
            side = "the shorter side" if step.keep_aspect else "both sides"
            steps.append(f"{side} resized to {step.size} pixels (bilinear, antialiased)")
        else:
            steps.append(f"the central {about.image_size}×{about.image_size} pixels")
    mean, std = (", ".join(f"{x:.4g}" for x in values) for values in (about.mean, about.std))
    steps.append(f"RGB scaled to [0, 1], then normalised with mean {mean} and standard deviation {std}")
    return "; ".join(steps)


def _rows(facts: _Facts) -> Iterator[tuple[str, ...]]:
    size = f"{parameters(facts.deployed.network):,}"
    yield ("this network", *_figures(facts.student), size)
    for name, teacher in facts.evaluation.teachers.items():
        yield (f"teacher {_kind(name)}", *_figures(teacher), f"{teacher.parameters:,}" if teacher.parameters else "")


def _figures(of: Accuracy) -> tuple[str, ...]:
    return f"{100 * of.top1:.2f} %", f"{100 * of.top5:.2f} %", f"{of.loss:.4f}", f"{of.ece:.4f}"


def _cost(facts: _Facts) -> str:
    multiply_adds = facts.evaluation.flops
    return f"{multiply_adds:,.0f} multiply-adds an image." if multiply_adds == multiply_adds else ""


def _limits(facts: _Facts) -> Iterator[str]:
    student, names = facts.student, facts.evaluation.class_names
    yield (
        f"The figures are those of one run (seed {facts.deployed.recipe.seed}) on {facts.images} images of the same "
        "data "
        "set as the training images; accuracy on other images was not measured."
    )
    yield "It knows no other classes: every image is assigned to one of those above."
    pairs = zip(student.per_class, student.per_class_count, names)
    worst = sorted((share, printable(name), count) for share, count, name in pairs if count)[:3]
    listed = ", ".join(f"{name} {100 * share:.1f} % of {count}" for share, name, count in worst)
    yield f"The least accurate classes: {listed}."
    if facts.evaluation.split == "validation":
        yield "The test split was not used: the images of the figures may also have been used to choose settings."
    yield "No licence is stated here; the licences of the data set and of the teachers' weights may apply."
