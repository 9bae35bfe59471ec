"""Networks as W&B artifacts: a run's student as its output, its teachers' students as its inputs."""

import re
from typing import Any

from raykd.track.history import is_own
from raykd.track.state import WandbState


def log_artifacts(state: WandbState, run: Any) -> bool:
    """Log the networks that are not uploaded yet; returns True. This calls the server, without a time limit."""
    import wandb

    for item in list(state.artifacts):
        model = wandb.Artifact(artifact_name(state.name), type="model", metadata=item.metadata)
        for file in (item.file, "recipe.json"):
            if is_own(state.directory / file):
                model.add_file(str(state.directory / file))
        run.log_artifact(model)
        state.artifacts.remove(item)
        state.write()
    return True


def link_teachers(state: WandbState) -> None:
    """Link the teachers' networks as inputs of an uploaded run; those not on the server yet remain recorded."""
    if not state.teachers:
        return
    import wandb

    api = wandb.Api(timeout=10)
    run = api.run(f"{state.entity}/{state.project}/{state.id}")
    for name in list(state.teachers):
        artifact = f"{state.entity}/{state.project}/{artifact_name(name)}:latest"
        try:
            run.use_artifact(api.artifact(artifact, type="model"))
        except (wandb.errors.CommError, ValueError):  # no such artifact: the teacher's own run is not uploaded
            continue
        state.teachers.remove(name)
    state.write()


def artifact_name(run_name: str) -> str:
    return "student-" + re.sub(r"[^A-Za-z0-9_.-]", "-", run_name)
