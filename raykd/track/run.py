"""One training as one W&B run: never a prompt, never a hang, never the end of the training.

Everything is written below the run directory first; what the server did not get, `upload.sync` brings later.
"""

import functools
import json
import os
import re
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raykd.track.labels import labels

SHARE = 0.01  # of the training's time that logged steps may take; epochs, evaluations and the end are always logged
PROBE_SECONDS = 5.0
FINISH_SECONDS = 60
CATCH_UP_SECONDS = 60
EXIT_CODES = {"finished": 0, "failed": 1, "stopped": 255}  # 255 is what W&B shows as killed


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
    """Start or go on with the run of a training (`recipe` from `to_dict`), to be called by rank 0 alone.

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


class Notebook:
    """wandb.json of a run directory: the run's id, its parts and which of them the server has, the last logged step."""

    def __init__(self, directory: Path, run_id: str = "", wish: Mapping[str, Any] | None = None):
        self.directory, self.path = directory, directory / "wandb.json"
        self.id, self.name, self.project, self.entity, self.url = run_id, "", "", "", ""
        self.last_step, self.parts, self.artifacts, self.teachers = -1, [], [], []
        if wish:
            self.project, self.entity = wish["project"], wish["entity"]
        if self.path.exists():
            self.__dict__.update(json.loads(self.path.read_text()))

    def write(self) -> None:
        """In place and padded, so that a note of a step costs microseconds; blanks after JSON are JSON."""
        keys = ("id", "name", "project", "entity", "url", "last_step", "parts", "artifacts", "teachers")
        text = json.dumps({key: getattr(self, key) for key in keys}).encode()
        with open(self.path, "r+b" if self.path.exists() else "wb") as file:
            size = file.seek(0, os.SEEK_END)
            os.pwrite(file.fileno(), text.ljust(size), 0)

    def pending(self) -> list[dict[str, Any]]:
        """Parts that the server does not wholly have."""
        return [part for part in self.parts if not part["uploaded"]]


def _never_fatal(method: Callable) -> Callable:
    """W&B may fail in any way (its service process can die); a training outlives that, and the user reads it once."""

    @functools.wraps(method)
    def guarded(self: "Run", *args: Any, **kwargs: Any) -> None:
        if self.wandb_run is None:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a tracker's failure of whatever kind must not end the training
            self._trouble(f"W&B failed ({type(error).__name__}), the training goes on")

    return guarded


class Run:
    """What rank 0 logs to; a disabled or broken one swallows everything."""

    def __init__(self, note: Notebook, name: str, say: Callable[[str], None]):
        self.note, self.name, self.say = note, name, say
        self.wandb_run: Any = None
        self.troubled = False
        self.began, self.spent = time.monotonic(), 0.0

    def _trouble(self, what: str) -> None:
        if not self.troubled:
            self.say(f"{what}; what is missing there: raykd sync {self.note.directory}")
        self.troubled = True

    @property
    def url(self) -> str:
        """Address of the run, "" while it is offline."""
        return self.note.url

    @property
    def id(self) -> str:
        return self.note.id

    def open(self, mode: str, recipe: dict[str, Any], name: str, job_type: str) -> None:
        wandb = quiet_wandb()
        self.note.name = name
        self.note.id = self.note.id or secrets.token_hex(4)
        for attempt in (mode, "offline"):
            try:
                self.wandb_run = wandb.init(**_settings(wandb, self.note, attempt, recipe, name, job_type))
                break
            except Exception as error:  # noqa: BLE001 - a wrong key, a server that answers nonsense: no common class
                if attempt == "offline":
                    self.say(f"W&B can't start ({type(error).__name__}), this run is not tracked there")
                    return
                self.say(f"W&B refuses the run ({type(error).__name__}), it is kept offline: raykd sync uploads it")
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
        """Log nested values; steps before the last logged one are dropped, as a resumed run repeats them.

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
        """Whether an earlier part logged this step; in this part, two lines of one step are one row."""
        return self.wandb_run.step < step

    @_never_fatal
    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the run's summary, e.g. parameters, flops, GPU-hours, best and last accuracies."""
        self.wandb_run.summary.update(flatten(values))

    @_never_fatal
    def save(self, *names: str) -> None:
        """Upload files of the run directory as they are now, e.g. result.json; the report reads them back."""
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
        server = quiet_wandb().setup().settings.base_url
        if not self.wandb_run.offline and not in_time(lambda: _answers(server), PROBE_SECONDS):
            self._trouble(f"W&B: {server} does not answer any more")
        elif not in_time(lambda: log_artifacts(self.note, self.wandb_run, self.name), FINISH_SECONDS):
            self._trouble(f"W&B did not take the student in {FINISH_SECONDS} s")

    @_never_fatal
    def use_teacher(self, run: str) -> None:
        """Note the run of a directory as a teacher: its network becomes an input of this run once both are uploaded."""
        name = Notebook(Path(run)).name or Path(run).name
        if name not in self.note.teachers:
            self.note.teachers.append(name)
            self.note.write()

    def finish(self, status: str) -> None:
        """End the run with a status of result.json; waits for the upload, a minute at most."""
        self._finish(status)
        self.wandb_run = None

    @_never_fatal
    def _finish(self, status: str) -> None:
        run = self.wandb_run
        online = not run.offline
        self.save("recipe.json", "metrics.jsonl", "evaluation.json", "result.json")
        ended = in_time(lambda: _finished(run, EXIT_CODES[status]), FINISH_SECONDS + 5)
        if not ended:
            _end_service()
        if ended != "uploaded":
            self._trouble(f"W&B did not take the whole run in {FINISH_SECONDS} s")
            return
        if online and not self.troubled:
            self.note.parts[-1]["uploaded"] = True
            self.note.write()
            link_teachers(self.note)


def _finished(run: Any, exit_code: int) -> str:  # to be called through in_time: W&B's own timeout is not always kept
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        return "late"
    return "uploaded"


def _end_service() -> None:
    """Kill this process's W&B service, which hangs in an upload and would hang the end of the process too."""
    import psutil

    for child in psutil.Process().children():
        if child.name().startswith("wandb-core"):
            child.kill()


def log_artifacts(note: Notebook, run: Any, name: str) -> bool:
    """Hand the noted networks over to W&B. This asks the server of an online run, for ever where it does not answer."""
    import wandb

    for item in list(note.artifacts):
        model = wandb.Artifact(artifact_name(name), type="model", metadata=item["metadata"])
        for file in (item["file"], "recipe.json"):
            if (note.directory / file).exists():
                model.add_file(str(note.directory / file))
        run.log_artifact(model)
        note.artifacts.remove(item)
        note.write()
    return True


def in_time(call: Callable[[], Any], seconds: float) -> Any:
    """What `call` returns, False where it takes longer (it is left to itself); what it raises is raised here."""
    answers: list[Any] = []

    def answer() -> None:
        try:
            answers.append(call())
        except Exception as error:  # noqa: BLE001 - handed over to the caller's thread
            answers.append(error)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    thread.join(seconds)
    if answers and isinstance(answers[0], Exception):
        raise answers[0]
    return bool(answers) and answers[0]


def link_teachers(note: Notebook) -> None:
    """Make the teachers' networks inputs of an uploaded run; those that the server does not have yet stay noted."""
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


def quiet_wandb() -> Any:
    """The wandb module without chatter, prompts, and reports of its own crashes to its makers."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    return wandb


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
        "settings": private_settings(wandb),
    }


def private_settings(wandb: Any) -> Any:
    """Quiet, bounded in time, and without the command line, the host's name and the git remote."""
    return wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,
        x_save_requirements=False,
        init_timeout=20,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
    )


def _mode(wanted: str, say: Callable[[str], None]) -> str:
    """online, offline or disabled; WANDB_MODE counts where the recipe says auto."""
    if wanted == "auto" and os.environ.get("WANDB_MODE") in ("online", "offline", "disabled"):
        wanted = os.environ["WANDB_MODE"]
    if wanted in ("offline", "disabled"):
        return wanted
    trouble = unreachable()
    if trouble:
        say(f"W&B: {trouble}, so the run is kept offline: raykd sync uploads it")
        return "offline"
    return "online"


def unreachable() -> str:
    """Why W&B can't be used now, "" if it can; takes seconds at most."""
    server = quiet_wandb().setup().settings.base_url
    if not has_key(server):
        return "no key (wandb login, or WANDB_API_KEY)"
    return "" if in_time(lambda: _answers(server), PROBE_SECONDS) else f"{server} does not answer"


def has_key(server: str) -> bool:
    """Whether W&B's own places hold a key; the key itself is W&B's to read."""
    from requests.utils import get_netrc_auth

    return bool({"WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"} & set(os.environ)) or get_netrc_auth(server) is not None


def key() -> str:
    """The key from W&B's own places, to hand it to a run on another machine; "" where there is none."""
    from requests.utils import get_netrc_auth

    if "WANDB_API_KEY" in os.environ:
        return os.environ["WANDB_API_KEY"]
    login = get_netrc_auth(quiet_wandb().setup().settings.base_url)
    return login[1] if login else ""


def _answers(server: str) -> bool:  # to be called through in_time: looking up a host's name heeds no timeout
    try:
        urllib.request.urlopen(server, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _catch_up(note: Notebook) -> bool:
    from raykd.track.upload import upload

    return upload(note, seconds=CATCH_UP_SECONDS) == ""
