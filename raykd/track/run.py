"""Logs a training as one W&B run; W&B never prompts, hangs, or ends the training.

Everything is written to the run directory first; `upload.sync` later uploads what the server did not get.
"""

import functools
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raykd.output import masked
from raykd.recipe.labels import labels
from raykd.track import server
from raykd.track.artifacts import link_teachers, log_artifacts
from raykd.track.state import Notebook

SHARE = 0.01  # of the training's time for logging steps, at most; epochs, evaluations and the end are always logged
CATCH_UP_SECONDS = 60
SETTLE_SECONDS = 10
KEPT = ("recipe.json", "metrics.jsonl", "evaluation.json", "result.json")  # files that are uploaded to W&B
EXIT_CODES = {"finished": 0, "failed": 1, "stopped": 255}  # W&B shows 255 as killed


def start(
    recipe: dict[str, Any],
    *,
    name: str,
    directory: Path,
    job_type: str = "student",
    run_id: str = "",
    resume_step: int = 0,
    say: Callable[[str], None] = print,
) -> "Run":
    """Start or resume the W&B run of a training (`recipe` from `to_dict`); for rank 0 only.

    `run_id` is for a directory that does not hold the run's wandb.json, as on another node; `resume_step` is the last
    step before this part, 0 at the start. `say` gets at most one line on each trouble.
    """
    wish = recipe["wandb"]
    note = Notebook(directory, run_id, wish)
    run = Run(note, name, say)
    mode = _mode(wish["mode"], say)
    if mode == "disabled":
        return run
    if mode == "online" and note.pending() and not _catch_up(note):
        say(f"W&B: an earlier part of this run waits for its upload, so this one is offline: raykd sync {directory}")
        mode = "offline"
    note.last_step = max(note.last_step, resume_step or -1)
    run.open(mode, recipe, name, job_type)
    return run


def _never_fatal(method: Callable) -> Callable:
    """Decorator: a failure of W&B, of any kind, does not end the training; it is reported once."""

    @functools.wraps(method)
    def guarded(self: "Run", *args: Any, **kwargs: Any) -> None:
        if self.wandb_run is None:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a tracker's failure of whatever kind must not end the training
            self._trouble(f"W&B failed ({_reason(error)}), the training goes on")

    return guarded


class Run:
    """The W&B run of rank 0; a disabled or broken one ignores everything."""

    def __init__(self, note: Notebook, name: str, say: Callable[[str], None]):
        self.note, self.name, self.say = note, name, say
        self.wandb_run: Any = None
        self.troubled = False
        # Of this part: the last step before it, what wandb.init was told, and the summary.
        self.since = -1
        self.about: dict[str, Any] = {}
        self.told: dict[str, Any] = {}
        self.began, self.spent = time.monotonic(), 0.0

    def _trouble(self, what: str) -> None:
        if not self.troubled:
            self.say(f"{what}; what is missing there: raykd sync {self.note.directory}")
        self.troubled = True

    @property
    def url(self) -> str:
        """Address of the run without credentials, "" while it is offline."""
        return masked(self.note.url)

    @property
    def id(self) -> str:
        return self.note.id

    def open(self, mode: str, recipe: dict[str, Any], name: str, job_type: str) -> None:
        wandb = server.quiet_wandb()
        self.note.name = name
        self.note.id = self.note.id or secrets.token_hex(4)
        self.since = self.note.last_step
        for attempt in (mode, "offline"):
            try:
                self.about = _settings(wandb, self.note, attempt, recipe, name, job_type)
                self.wandb_run = wandb.init(**self.about)
                break
            except Exception as error:  # noqa: BLE001 - a wrong key, an invalid answer of the server: no common class
                if attempt == "offline":
                    self.say(f"W&B can't start ({_reason(error)}), this run is not tracked there")
                    return
                self.say(f"W&B refuses the run ({_reason(error)}), so it is logged offline; raykd sync uploads it")
        self._opened()

    def _opened(self) -> None:
        run, note = self.wandb_run, self.note
        run.define_metric("evaluation/*", step_metric="epoch")
        note.project, note.url = run.project or note.project, run.url or note.url
        note.entity = run.entity or note.entity
        note.last_step = max(note.last_step, run.starting_step - 1)
        note.parts.append({"folder": Path(run.dir).parent.name, "uploaded": False})
        note.write()

    @_never_fatal
    def log(self, step: int, values: Mapping[str, Any], *, thin: bool = False) -> None:
        """Log nested values; steps up to the last logged one are dropped, as a resumed run repeats them.

        With `thin` (for lines of single steps) the line is left out while logging takes more than 1 % of the time.
        """
        if step < self.note.last_step or (thin and self.spent > SHARE * (time.monotonic() - self.began)):
            return
        if step == self.note.last_step and self._repeated(step):
            return
        before = time.monotonic()
        self.wandb_run.log(flatten(values), step=step)
        self.note.last_step = step
        self.note.write()
        self.spent += time.monotonic() - before

    def _repeated(self, step: int) -> bool:
        """Whether an earlier part logged this step; in this part, two lines of one step form one row."""
        return self.wandb_run.step < step

    @_never_fatal
    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the run's summary, e.g. parameters, flops, GPU-hours, best and last accuracies."""
        self.told |= flatten(values)
        self.wandb_run.summary.update(self.told)

    @_never_fatal
    def save(self, *names: str) -> None:
        """Upload files of the run directory in their current state, e.g. result.json, which reports read."""
        for name in names:
            path = self.note.directory / name
            if path.exists():
                copy = Path(self.wandb_run.dir) / name
                copy.write_bytes(path.read_bytes())
                self.wandb_run.save(str(copy), base_path=self.wandb_run.dir, policy="now")

    @_never_fatal
    def artifact(self, path: Path, metadata: Mapping[str, Any]) -> None:
        """Upload the deployed network (a file of the run directory) as an artifact of type model."""
        self.note.artifacts.append({"file": path.name, "metadata": dict(metadata)})
        self.note.write()
        address = server.quiet_wandb().setup().settings.base_url
        if not self.wandb_run.offline and not server.in_time(lambda: server.answers(address), server.PROBE_SECONDS):
            self._trouble(f"W&B: {address} does not answer any more")
        elif self.wandb_run.offline:  # W&B's log would name a copy of the file; `raykd sync` uploads the file itself
            return
        elif not server.in_time(lambda: log_artifacts(self.note, self.wandb_run, self.name), server.FINISH_SECONDS):
            self._trouble(f"W&B did not take the student in {server.FINISH_SECONDS} s")

    @_never_fatal
    def use_teacher(self, run: str) -> None:
        """Record a directory's run as a teacher: its network becomes an input of this run once both are uploaded."""
        name = Notebook(Path(run)).name or Path(run).name
        if name not in self.note.teachers:
            self.note.teachers.append(name)
            self.note.write()

    def finish(self, status: str) -> None:
        """End the run with a status of result.json; waits at most a minute for the upload."""
        self._finish(status)
        self.wandb_run = None

    def _log_is_complete(self) -> bool:
        """Wait some seconds until the part's transaction log is complete, so that it may be copied to the storage."""
        from raykd.track import upload

        folder = self.note.directory / "wandb" / self.note.parts[-1]["folder"]
        until = time.monotonic() + SETTLE_SECONDS
        while not any(map(upload.complete, folder.glob("run-*.wandb"))):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def _write_again(self, status: str) -> None:
        """Replace this part, whose log is truncated: W&B's service never resumes a log after a full disk.

        The new part has the lines of metrics.jsonl, one for each evaluation, and the summary.
        """
        from raykd.runs.directory import lines
        from raykd.storage.folder import Folder

        torn = self.note.parts.pop()
        self.wandb_run = server.quiet_wandb().init(**self.about | {"mode": "offline"})
        self._opened()
        for line in lines(Folder(self.note.directory)):
            if line["step"] > self.since:
                self.wandb_run.log(flatten(line), step=line["step"])
        self.wandb_run.summary.update(self.told)
        self.save(*KEPT)
        server.in_time(lambda: _finished(self.wandb_run, EXIT_CODES[status]), server.FINISH_SECONDS + 5)
        if self._log_is_complete():
            shutil.rmtree(self.note.directory / "wandb" / torn["folder"], ignore_errors=True)
            self.say("W&B's log broke off, as it does when the disk is full: it was written again from metrics.jsonl")
        else:
            self.note.parts.insert(-1, torn)
            self.note.write()
            self._trouble("W&B's log breaks off, as it does when the disk is full")

    @_never_fatal
    def _finish(self, status: str) -> None:
        run = self.wandb_run
        online = not run.offline
        self.save(*KEPT)
        ended = server.in_time(lambda: _finished(run, EXIT_CODES[status]), server.FINISH_SECONDS + 5)
        if not ended:
            _end_service()
        if ended != "uploaded":
            self._trouble(f"W&B did not take the whole run in {server.FINISH_SECONDS} s")
            return
        if not self._log_is_complete() and not online:
            self._write_again(status)
            return
        if online and not self.troubled:
            self.note.parts[-1]["uploaded"] = True
            self.note.write()
            link_teachers(self.note)


def _reason(error: Exception) -> str:
    """A failure of W&B as one line."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}{f': {first[:200]}' if first else ''}"


def _finished(run: Any, exit_code: int) -> str:  # call it through in_time: W&B does not always observe its own timeout
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        return "late"
    return "uploaded"


def _end_service() -> None:
    """Kill this process's W&B service, which hangs in an upload and would block the end of the process too."""
    import psutil

    for child in psutil.Process().children():
        if child.name().startswith("wandb-core"):
            child.kill()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one level: {"terms": {"ce": 1}, "w": [2]} → {"terms/ce": 1, "w/0": 2}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, (list, tuple)):
            value = {str(i): item for i, item in enumerate(value)}
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _settings(wandb: Any, note: Notebook, mode: str, recipe: dict, name: str, job_type: str) -> dict:
    """Arguments of wandb.init."""
    about, wish = labels(recipe), recipe["wandb"]
    tags = [about.method, about.data, about.student, f"seed {about.seed}", *wish["tags"]]
    return {
        "project": note.project,
        "entity": note.entity or None,
        "id": note.id,
        "name": name,
        "dir": str(note.directory),
        "group": wish["group"] or None,
        "job_type": job_type,
        "tags": [tag[:64] for tag in dict.fromkeys(tags)],
        "config": {**recipe, "labels": about._asdict(), "name": name},
        "mode": mode,
        "resume": "allow",
        "reinit": "create_new",
        "settings": server.private_settings(wandb),
    }


def _catch_up(note: Notebook) -> bool:
    from raykd.track.upload import upload

    return upload(note, seconds=CATCH_UP_SECONDS) == ""


def _mode(wanted: str, say: Callable[[str], None]) -> str:
    """online, offline or disabled; WANDB_MODE applies if the recipe says auto."""
    if wanted == "auto" and os.environ.get("WANDB_MODE") in ("online", "offline", "disabled"):
        wanted = os.environ["WANDB_MODE"]
    if wanted in ("offline", "disabled"):
        return wanted
    trouble = server.unreachable()
    if trouble:
        say(f"W&B: {trouble}, so the run is logged offline; raykd sync uploads it")
        return "offline"
    return "online"
