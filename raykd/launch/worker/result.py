"""result.json and evaluation.json of a finished run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from raykd.launch.job_spec import JobSpec
from raykd.models.cost import flops
from raykd.models.staged import parameters
from raykd.recipe import Recipe
from raykd.recipe.labels import method_name
from raykd.recipe.serial import to_dict
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.training.evaluation.evaluate import Figures


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One start of the workers, as known before its first step."""

    token: str  # from `attempts.claim`; once a later attempt starts, this one must not write
    step: int  # step of the checkpoint that it resumes from; 0: a new run
    world: int
    device: torch.device
    classes: Sequence[str]
    teachers: Sequence[tuple[FrozenTeacher, Figures]]  # with their metrics on the evaluation split
    ensemble: Mapping[str, Mapping[str, float]]  # see MeasuredTeachers


def best_top1(lines: Iterable[Mapping[str, Any]], last: float) -> float:
    """The deployed network's top-1 at the best evaluation in lines of metrics.jsonl; `last` if they have none."""
    top1 = [(line, next(iter(line["evaluation"].values()))["top1"]) for line in lines if "evaluation" in line]
    # Lines of versions that chose by the deployed network alone have no selection.
    chosen_by = [line.get("selection", value) for line, value in top1]
    return top1[chosen_by.index(max(chosen_by))][1] if top1 else last


def result_of(
    job: JobSpec,
    recipe: Recipe,
    attempt: Attempt,
    lines: Sequence[Mapping[str, Any]],
    network: nn.Module,
    figures: Mapping[str, Figures],
    *,
    restarts: int,
    wandb_url: str,
) -> dict[str, Any]:
    """result.json: the deployed network's metrics of the last epoch, and its top-1 of the best epoch."""
    last = next(iter(figures.values()))
    return {
        "name": job.name,
        "method": method_name(to_dict(recipe.method)),
        "status": "finished",
        "epochs": recipe.epochs,
        "seed": recipe.seed,
        "workers": attempt.world,
        "restarts": restarts,
        "top1": last.top1,
        "top1_best": best_top1(lines, last.top1),
        "top5": last.top5,
        "loss": last.loss,
        "networks": {name: {"top1": each.top1, "top5": each.top5} for name, each in figures.items()},
        "seconds": sum(line["seconds"] for line in lines),
        "images_per_second": _images_per_second(lines, recipe.batch_size),
        "parameters": parameters(network),
        "git": job.git,
        "wandb_url": wandb_url,
    }


def _images_per_second(lines: Sequence[Mapping[str, Any]], batch_size: int) -> float:
    """Images per second of the steps, without the evaluations between them."""
    steps = [line["step"] for line in lines]
    images = [(step - before) * batch_size for before, step in zip([0, *steps], steps)]
    seconds = sum(count / line["images_per_second"] for count, line in zip(images, lines))
    return sum(images) / seconds if seconds else 0.0


def evaluation_of(
    recipe: Recipe, attempt: Attempt, network: nn.Module, figures: Mapping[str, Figures]
) -> dict[str, Any]:
    """evaluation.json: the last evaluation in full. network: the deployed one."""
    return {
        "split": "validation" if recipe.data.validation else "test",
        "class_names": list(attempt.classes),
        "networks": {name: each.full() for name, each in figures.items()},
        "teachers": {
            teacher.name: measured.full()
            | {"parameters": teacher.parameters, "path": teacher.path, "form": str(teacher.precision)}
            for teacher, measured in attempt.teachers
        },
        "ensemble": attempt.ensemble,
        "flops": flops(network, recipe.data.image_size, attempt.device),
    }
