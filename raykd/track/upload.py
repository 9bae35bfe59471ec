"""`raykd sync`: uploads what W&B's server did not get when it was logged.

The run is resumed on the server, and the rows that it lacks are logged again, with their times. System metrics of parts
that were logged offline are not among them: raykd doesn't record those. A run directory may come from anybody: only
plain values and raykd's own files leave the machine, and only for a project that the user knows of.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.output import masked, message_of
from raykd.runs.results.read import read_recipe
from raykd.storage.atomic import temporary_folder
from raykd.storage.folder import Folder
from raykd.storage.lease import in_use
from raykd.track import connection, server
from raykd.track.artifacts import link_teachers, log_artifacts
from raykd.track.run import description
from raykd.track.state import WandbState, read_state

DEFAULT_PROJECT = "raykd"
SECONDS = 3600  # maximum duration of one run's upload
DESCRIBED: dict[str, type] = {"name": str, "group": str, "job_type": str, "tags": list, "config": dict}


def sync(
    runs: list[str], allowed: Iterable[str] = (), ask: Callable[[str], bool] = lambda question: False
) -> list[str]:
    """Upload run directories (or folders of them); returns a line for each.

    allowed: ENTITY/PROJECT that the user has named. ask: asks the user a question; False if nobody can answer.
    Raises UserError if there is nothing to upload, no key, no server, or no permission.
    """
    states = [read_state(path) for run in runs for path in _directories(Path(run))]
    if not states:
        raise UserError(
            f"no run with a wandb.json in {', '.join(runs)}: give directories of runs that were logged to W&B"
        )
    trouble = server.unreachable()
    if trouble:
        raise UserError(f"can't upload to W&B: {trouble}")
    expect_known(states, server.quiet_wandb().Api(timeout=20).default_entity, allowed, ask)
    return [f"{state.directory}: {upload(state) or _where(state)}" for state in states]


def expect_known(
    states: Iterable[WandbState], default_entity: str, allowed: Iterable[str], ask: Callable[[str], bool]
) -> None:
    """Raise UserError if a run is recorded for a project that is neither the user's default nor named by the user."""
    known = {f"{default_entity}/{DEFAULT_PROJECT}", *allowed}
    for state in states:
        project = f"{state.entity or default_entity}/{state.project}"
        if project not in known and not ask(f"{state.directory} was logged for {project} on W&B. Upload it there?"):
            raise UserError(
                f"{state.directory} was logged for {project} on W&B, which is not your default "
                f"({default_entity}/{DEFAULT_PROJECT}); to upload it there: raykd sync --to {project} …"
            )
        known.add(project)


def _where(state: WandbState) -> str:
    missing = ", ".join(state.teachers)
    later = f" (its teachers' runs are not there yet: sync {missing}, then this again)" if missing else ""
    return f"uploaded{f', {masked(state.url)}' if state.url else ''}{later}"


def _directories(path: Path) -> list[Path]:
    if not path.is_dir():
        raise UserError(f"no run directory at {path}: give run directories, or folders of them")
    return sorted(file.parent for file in path.rglob("wandb.json"))


def upload(state: WandbState, seconds: float = SECONDS) -> str:
    """Send what the server lacks of a run, and link its teachers; returns "" or why that failed."""
    if in_use(Folder(state.directory)):  # its own process is still logging
        return "a process is training it; nothing is lost, try again when it has finished"
    if not state.uploaded or state.artifacts:
        try:
            with temporary_folder() as folder:
                if server.in_time(lambda: _send(state, folder, seconds), seconds) != "uploaded":
                    return f"the upload took more than {seconds:.0f} s; nothing is lost, try again"
        except (server.quiet_wandb().Error, OSError) as error:
            return f"W&B did not accept the upload ({message_of(error)}); nothing is lost, try again"
        state.uploaded = True
        state.write()
    link_teachers(state)
    return ""


def _send(state: WandbState, folder: Path, seconds: float) -> str:
    logged = connection.logged_by(state)
    run = connection.connect(state, _described(state, logged.start), folder, seconds)
    connection.send_missing(run, logged)
    connection.save_files(run, state.directory)
    log_artifacts(state, run)
    return connection.finish(run, logged.exit_code)


def _described(state: WandbState, start: dict[str, Any]) -> dict[str, Any]:
    """Arguments of wandb.init from the run's history; of a run by an earlier version, from its recipe."""
    about = {name: start[name] for name, kind in DESCRIBED.items() if isinstance(start.get(name), kind)}
    if about.keys() == DESCRIBED.keys():
        return about
    return description(read_recipe(Folder(state.directory)), state.name, "student")
