"""Logs a training as one W&B run; W&B never prompts, hangs, or ends the training.

Everything is written to the run directory too (see `history`); `raykd sync` later uploads what the server did not get.
"""

import functools
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raykd.output import masked, message_of
from raykd.recipe.labels import labels
from raykd.track import connection, server
from raykd.track.artifacts import link_teachers, log_artifacts
from raykd.track.history import EXIT_CODES, flatten, read_history, record
from raykd.track.state import Artifact, WandbState, read_state

SHARE = 0.01  # maximum share of the training's time for logging steps; evaluations and the end are always logged


def start(
    recipe: dict[str, Any],
    *,
    name: str,
    directory: Path,
    job_type: str = "student",
    resume_step: int = 0,
    notify: Callable[[str], None] = print,
) -> "Run":
    """Start or resume the W&B run of a training (`recipe` from `to_dict`); for rank 0 only.

    resume_step: the last step before this part, 0 at the start. notify: called with at most one line for each problem.
    """
    mode = _mode(recipe["wandb"]["mode"], notify)
    run = Run(read_state(directory, recipe["wandb"]), notify, active=mode != "disabled")
    run.open(mode, description(recipe, name, job_type), resume_step)
    return run


def _never_fatal(method: Callable) -> Callable:
    """Decorator: a failure of W&B, of any kind, does not end the training; it is reported once."""

    @functools.wraps(method)
    def guarded(self: "Run", *args: Any, **kwargs: Any) -> None:
        if not self.active:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a tracker's failure of whatever kind must not end the training
            self._report(f"W&B failed ({message_of(error)}); training continues")

    return guarded


class Run:
    """The W&B run of rank 0; a disabled one ignores everything."""

    def __init__(self, state: WandbState, notify: Callable[[str], None], active: bool):
        self.state, self.notify, self.active = state, notify, active
        self.reported = False
        self.wandb_run: Any = None  # None while offline
        self.since = -1  # the last step before this part
        self.began, self.spent = time.monotonic(), 0.0

    @property
    def url(self) -> str:
        """Address of the run without credentials; empty while it is offline."""
        return masked(self.state.url)

    @_never_fatal
    def open(self, mode: str, about: dict[str, Any], resume_step: int) -> None:
        """Start logging, and connect to the server if `mode` is online. about: see `description`."""
        self.active, state = False, self.state  # a run whose files can't be written is not logged
        state.name, state.id, state.uploaded = about["name"], state.id or secrets.token_hex(4), False
        state.write()
        self.since = max(state.last_step, *read_history(state.directory).rows, resume_step or -1)
        record(state.directory, {"start": about})
        self.active = True
        if mode == "online":
            self._connect(about)

    def _connect(self, about: dict[str, Any]) -> None:
        try:
            run = connection.connect(self.state, about, self.state.directory, server.FINISH_SECONDS)
        except Exception as error:  # noqa: BLE001 - a wrong key, an invalid answer of the server: no common class
            self.notify(f"W&B refused the run ({message_of(error)}), so it is logged offline; raykd sync uploads it")
            return
        self.wandb_run, self.since = run, max(self.since, run.starting_step - 1)
        connection.send_missing(run, connection.logged_by(self.state))

    def _report(self, what: str) -> None:
        if not self.reported:
            self.notify(f"{what}; to upload the rest: raykd sync {self.state.directory}")
        self.reported = True

    @_never_fatal
    def log(self, step: int, values: Mapping[str, Any], *, thin: bool = False) -> None:
        """Log nested values; steps that an earlier part has logged are dropped, as a resumed run repeats them.

        With `thin` (for lines of single steps) the line is left out while logging takes more than 1 % of the time.
        """
        before = time.monotonic()
        if step <= self.since or (thin and self.spent > SHARE * (before - self.began)):
            return
        row = flatten(values) | {"_timestamp": time.time()}
        try:
            record(self.state.directory, {"step": step, "values": row})
        finally:
            if self.wandb_run is not None:
                self.wandb_run.log(row, step=step)
            self.spent += time.monotonic() - before

    @_never_fatal
    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the run's summary, e.g. parameters, flops, GPU-hours, best and last accuracies."""
        flat = flatten(values)
        try:
            record(self.state.directory, {"summary": flat})
        finally:
            if self.wandb_run is not None:
                self.wandb_run.summary.update(flat)

    @_never_fatal
    def artifact(self, path: Path, metadata: Mapping[str, Any]) -> None:
        """Upload the deployed network (a file of the run directory) as an artifact of type model."""
        self.state.artifacts.append(Artifact.model_validate({"file": path.name, "metadata": metadata}))
        self.state.write()
        if self.wandb_run is None:  # `raykd sync` uploads it
            return
        if trouble := server.unreachable():
            self._report(f"W&B: {trouble}")
        elif not server.in_time(lambda: log_artifacts(self.state, self.wandb_run), server.FINISH_SECONDS):
            self._report(f"W&B did not accept the student within {server.FINISH_SECONDS} s")

    @_never_fatal
    def use_teacher(self, run: str) -> None:
        """Record a directory's run as a teacher: its network becomes an input of this run once both are uploaded."""
        name = read_state(Path(run)).name or Path(run).name
        if name not in self.state.teachers:
            self.state.teachers.append(name)
            self.state.write()

    @_never_fatal
    def finish(self, status: str) -> None:
        """End the run with a status of result.json; waits at most a minute for the upload."""
        run, self.wandb_run, self.active = self.wandb_run, None, False
        exit_code = EXIT_CODES[status]
        record(self.state.directory, {"exit": exit_code})
        if run is None:
            return
        connection.save_files(run, self.state.directory)
        ended = server.in_time(lambda: connection.finish(run, exit_code), server.FINISH_SECONDS + 5)
        if not ended:
            _end_service()
        if ended != "uploaded":
            self._report(f"W&B did not accept the whole run within {server.FINISH_SECONDS} s")
        elif not self.reported:
            self.state.uploaded = True
            self.state.write()
            link_teachers(self.state)


def _end_service() -> None:
    """Kill this process's W&B service, which hangs in an upload and would block the end of the process too."""
    import psutil

    for child in psutil.Process().children():
        if child.name().startswith("wandb-core"):
            child.kill()


def description(recipe: dict[str, Any], name: str, job_type: str) -> dict[str, Any]:
    """A run's name, group, type, tags and configuration, as arguments of wandb.init."""
    about, settings = labels(recipe), recipe["wandb"]
    tags = [about.method, about.data, about.student, f"seed {about.seed}", *settings["tags"]]
    return {
        "name": name,
        "group": settings["group"],
        "job_type": job_type,
        "tags": [tag[:64] for tag in dict.fromkeys(tags)],
        "config": {**recipe, "labels": about._asdict(), "name": name},
    }


def _mode(mode: str, notify: Callable[[str], None]) -> str:
    """online, offline or disabled; WANDB_MODE applies if the recipe says auto."""
    if mode == "auto" and os.environ.get("WANDB_MODE") in ("online", "offline", "disabled"):
        mode = os.environ["WANDB_MODE"]
    if mode in ("offline", "disabled"):
        return mode
    trouble = server.unreachable()
    if trouble:
        notify(f"W&B: {trouble}, so the run is logged offline; raykd sync uploads it")
        return "offline"
    return "online"
