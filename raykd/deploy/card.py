"""The model card of a deployed network, a README.md for the Hugging Face hub, with only what the run has measured."""

import sys
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
from raykd.runs.results.read import read_evaluation

TEMPLATE = Path(__file__).parent / "card.md.j2"


def model_card(deployed: Deployed, folder: str, library: str) -> str:
    """The card's text. folder: name of the model's folder. library: "timm" or "raykd", which loads it.

    Raises UserError if the run has not ended.
    """
    evaluation = read_evaluation(deployed.run)
    if evaluation is None or deployed.result is None:
        raise UserError(f"{deployed.run} has no evaluation.json, which the model card needs: train the run to its end")
    recipe, student, title = deployed.recipe, next(iter(evaluation.networks.values())), printable(deployed.result.name)
    classes = zip(student.per_class, map(printable, evaluation.class_names), student.per_class_count)
    card = ModelCard.from_template(
        _header(deployed, title, library, evaluation.split, student.top1),
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        title=title,
        about=deployed.about,
        recipe=recipe,
        result=deployed.result,
        evaluation=evaluation,
        student=student,
        parameters=parameters(deployed.network),
        classes=[printable(name) for name in deployed.about.classes],
        folder=folder,
        library=library,
        preprocessing=_preprocessing(deployed),
        source=f"{labels(to_dict(recipe)).data} ({recipe.data.source.description or 'a user-defined source'})",
        paper=(sys.modules[type(recipe.method).__module__].__doc__ or "").strip(),
        images=sum(student.per_class_count),
        worst=sorted(of_class for of_class in classes if of_class[2])[:3],
        kind=_kind,
        fingerprint=fingerprint(recipe),
        version=__version__,
    )
    return str(card)


def _header(deployed: Deployed, title: str, library: str, split: str, top1: float) -> ModelCardData:
    source = deployed.recipe.data.source.name or "own"
    accuracy = EvalResult(
        task_type="image-classification",
        dataset_type=source,
        dataset_name=source,
        dataset_split=split,
        metric_type="accuracy",
        metric_name="top-1",
        metric_value=round(top1, 4),
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


def _kind(network: str) -> str:
    library, colon, name = network.partition(":")
    return f"{name} of {library}" if colon and library in LIBRARIES else network


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
