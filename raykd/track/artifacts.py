"""Networks as W&B artifacts: a run's student as its output, its teachers' students as its inputs."""

import re
from typing import Any

from raykd.track.state import Notebook


def log_artifacts(note: Notebook, run: Any, name: str) -> bool:
    """Log the noted networks to W&B. For an online run this calls the server, without a time limit."""
    import wandb

    for item in list(note.artifacts):
        model = wandb.Artifact(artifact_name(name), type="model", metadata=item["metadata"])
        for file in (item["file"], "recipe.json"):
            if (note.directory / file).is_file() and not (note.directory / file).is_symlink():
                model.add_file(str(note.directory / file))
        run.log_artifact(model)
        note.artifacts.remove(item)
        note.write()
    return True


def link_teachers(note: Notebook) -> None:
    """Link the teachers' networks as inputs of an uploaded run; those that are not on the server yet stay noted."""
    if not note.teachers:
        return
    import wandb

    api = wandb.Api(timeout=10)
    run = api.run(f"{note.entity}/{note.project}/{note.id}")
    for name in list(note.teachers):
        artifact = f"{note.entity}/{note.project}/{artifact_name(name)}:latest"
        try:
            run.use_artifact(api.artifact(artifact, type="model"))
        except (wandb.errors.CommError, ValueError):  # no such artifact: the teacher's own run is not uploaded
            continue
        note.teachers.remove(name)
    note.write()


def artifact_name(run_name: str) -> str:
    return "student-" + re.sub(r"[^A-Za-z0-9_.-]", "-", run_name)
