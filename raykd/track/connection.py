"""A run at W&B's server: opened or resumed, given the rows that it lacks, and ended."""

from pathlib import Path
from typing import Any

from raykd.runs.metrics_log import lines
from raykd.storage.folder import Folder
from raykd.track import server
from raykd.track.history import Logged, flatten, is_own, read_history, read_regular
from raykd.track.state import WandbState

FILES = ("recipe.json", "metrics.jsonl", "evaluation.json", "result.json")  # of a run directory, which reports read


def connect(state: WandbState, about: dict[str, Any], folder: Path, seconds: float) -> Any:
    """Open or resume the run on the server; what wandb.init raises has no common class.

    about: further arguments of wandb.init. folder: for W&B's own files. seconds: limit of the upload at its end.
    """
    wandb = server.quiet_wandb()
    run = wandb.init(
        **about,
        project=state.project,
        entity=state.entity or None,
        id=state.id,
        dir=str(folder),
        mode="online",
        resume="allow",
        reinit="create_new",
        settings=server.private_settings(wandb, seconds),
    )
    run.define_metric("evaluation/*", step_metric="epoch")
    state.entity, state.project, state.url = run.entity or state.entity, run.project or state.project, run.url or ""
    state.write()
    return run


def logged_by(state: WandbState) -> Logged:
    """All that the run has logged: its history, and the lines of metrics.jsonl where the history lacks them.

    A full disk or an earlier version of raykd leaves a run without a part of its history.
    """
    logged = read_history(state.directory)
    metrics = lines(Folder(state.directory)) if is_own(state.directory / "metrics.jsonl") else []
    evaluated = {line["step"]: flatten(line) for line in metrics}
    logged.rows = {
        step: evaluated.get(step, {}) | logged.rows.get(step, {}) for step in sorted(evaluated | logged.rows)
    }
    return logged


def send_missing(run: Any, logged: Logged) -> None:
    """Log the rows after the server's last one; W&B itself sends them in the background."""
    for step, values in logged.rows.items():
        if step >= run.starting_step:
            run.log(values, step=step)
    if logged.summary:
        run.summary.update(logged.summary)


def save_files(run: Any, directory: Path) -> None:
    """Upload the run directory's own files, such as result.json, in their current state; links are not followed."""
    for name in FILES:
        if is_own(directory / name):
            copy = Path(run.dir) / name
            copy.write_bytes(read_regular(directory / name))
            run.save(str(copy), base_path=run.dir, policy="now")


def finish(run: Any, exit_code: int) -> str:
    """Wait for the upload and end the run; "uploaded", or "late" after W&B's own time limit.

    Call it through `server.in_time`, as W&B does not always observe its limit.
    """
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        return "late"
    return "uploaded"
