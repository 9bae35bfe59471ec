"""Fuzzes everything that reads other people's files: no crash, no hang, no error other than raykd's.

    python -m tests.faults.fuzz beton|runs|recipes|sources|students SECONDS [FIRST]

Attempts are numbered; the same number repeats the same attempt. They run in a separate process with 8 GiB of memory.
If that process dies, or hangs for a minute, another one continues after the attempt that caused it. On a busy machine
an attempt may take longer as long as it keeps computing, up to one minute of CPU time.
"""

import copy
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue

import psutil

from raykd import UserError

HANG, MEMORY, HOME = 60, 8 * 2**30, Path(__file__).parents[1]
IDLE = 0.5  # seconds of the processor's time in a minute, below which a process waits for something
Attempt = Callable[[int], str]
BITS = (b"", b"\0", b'"', b"{", b"[", b"}", b"1e999", b"-1", b"null", b"NaN", b"\xff", b"\n", b":", b"__", b"(", b"'")


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Bytes with some of them changed, removed, duplicated or truncated."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 6))):
        at = draw.randrange(len(found) + 1)
        match draw.randrange(5):
            case 0:
                found[at : at + draw.choice((1, 4, 40))] = draw.choice(BITS)
            case 1:
                found[at:at] = found[at : at + draw.randrange(200)]
            case 2:
                del found[at : at + draw.randrange(30)]
            case 3:
                found[at : at + 1] = bytes([draw.randrange(256)])
            case _:
                del found[at if draw.random() < 0.1 else len(found) :]
    return bytes(found)


def outcome(action: Callable[[], object]) -> str:
    """Whether an action succeeds, or ends with a one-line error for users."""
    try:
        action()
    except UserError as error:
        line = str(error).strip()
        return "refused" if line and "\n" not in line and len(line) < 4000 else f"unclear: {line[:300]!r}"
    except Exception as error:  # noqa: BLE001  any other one is what is looked for
        return f"{type(error).__name__}: {str(error)[:300]!r}"
    return "read"


def beton(folder: Path) -> Attempt:
    """Data sets in FFCV's format: headers, tables, JPEGs."""
    from tests.faults.beton_fuzz import opened

    attempt = opened(folder)
    return lambda number: attempt(number).replace("loaded", "read")


def runs(folder: Path) -> Attempt:
    """All files of a finished run, each read by everything that reads it."""
    import torch

    from raykd.reports.report import report
    from raykd.runs import attempts, data, directory, metrics_log
    from raykd.runs.checkpoints import checkpoint
    from raykd.runs.listing import listed
    from raykd.runs.recipe import open_finished
    from raykd.runs.results.deployment import read_deployment
    from raykd.runs.student import read_student, write_student
    from raykd.storage import lease
    from raykd.storage.folder import Folder
    from raykd.track.history import read_history
    from raykd.track.state import read_state
    from tests.support.synthetic_runs import new_recipe, write_run

    recipe = new_recipe()
    path = write_run(folder / "runs", recipe, "kd-seed0", networks=("student", "peer"))
    run = Folder(path)
    checkpoint.write(run, {"a": torch.ones(3)}, step=3, epoch=1.0, top1=0.5, fingerprint="v2-0")
    made = run_files(run, write_student)
    attempts.claim(run, 1)
    about = {"token": "t", "machine": lease.machine(), "host": "here", "pid": os.getpid(), "started": 1, "beat": 4}
    run.write(lease.FILE, json.dumps(about))
    files = {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    readers = (
        lambda: report([str(path.parent)], out=folder / "report.html"),
        lambda: open_finished(str(path)),
        lambda: checkpoint.newest(run, str),
        lambda: metrics_log.lines(run),
        lambda: attempts.attempts_of(run),
        lambda: directory.trained_teachers(run),
        lambda: data.other_data(run, made),
        lambda: read_student(run),
        lambda: read_state(path),
        lambda: read_history(path),
        lambda: list(listed(Folder(path.parent))),
        lambda: read_deployment(run),
        lambda: lease.in_use(run),
    )

    for reader in readers:  # undamaged files can be read
        reader()

    def attempt(number: int) -> str:
        draw = random.Random(number)
        changed = draw.choice(list(files))
        changed.write_bytes(damaged(files[changed], draw))
        print(changed.name, end=" ", flush=True)
        outcomes = {outcome(reader) for reader in readers}
        changed.write_bytes(files[changed])
        return worst(outcomes)

    return attempt


def run_files(run, write_student):
    """Files that the synthetic run lacks for a complete one; returns its data."""
    from raykd.data.config import Prepared
    from raykd.models import create
    from raykd.recipe.serial import to_dict
    from raykd.recipes.digits.supervised import recipe
    from raykd.runs.data import expect_data

    network = create("resnet8", 10, 32)
    normed = recipe.data.__class__(**{**vars(recipe.data), "mean": (0.5,) * 3, "std": (0.5,) * 3})
    write_student(run, network, recipe.__class__(**{**vars(recipe), "data": normed}), tuple("0123456789"))
    run.write("recipe.json", json.dumps(to_dict(recipe)))
    run.write("teachers.json", json.dumps(["/nowhere/teachers/a"]))
    run.write("wandb.json", json.dumps({"id": "a1", "name": "kd", "project": "p", "uploaded": False, "artifacts": []}))
    run.write("wandb/history.jsonl", json.dumps({"step": 1, "values": {"terms/kd": 0.5}}) + "\n")
    classes = tuple("0123456789")
    made = Prepared(train=Path(), test=None, classes=classes, train_size=9, test_size=3, identity="digits-0")
    expect_data(run, made)
    return made


def recipes(folder: Path) -> Attempt:
    """Recipes as text of Python files, as JSON, and as words of the command line."""
    from raykd.launch.driver.validate import check
    from raykd.recipe import Recipe
    from raykd.recipe.changes import change
    from raykd.recipe.files.load import load
    from raykd.recipe.files.python_source import to_source
    from raykd.recipe.serial import from_dict, to_dict
    from raykd.recipes.digits import funmatch, okddip

    whole = [funmatch.recipe, okddip.recipe]
    texts = [to_source(recipe, "One of raykd's own.").encode() for recipe in whole]
    plains = [json.loads(json.dumps(to_dict(recipe))) for recipe in whole]
    values = (
        None,
        True,
        0,
        -1,
        2**63,
        10**400,
        1e308,
        float("nan"),
        float("-inf"),
        "",
        "os:system",
        "\0",
        [],
        {},
        [[]],
    )

    def attempt(number: int) -> str:
        draw = random.Random(number)
        which = draw.randrange(2)
        kind = draw.choice(("text", "json", "words"))
        print(kind, end=" ", flush=True)
        if kind == "text":
            path = folder / f"recipe{number}.py"
            path.write_bytes(damaged(texts[which], draw))
            found = outcome(lambda: check(load(path).recipe))
            path.unlink()
            return found
        places = list(leaves(plains[which]))
        chosen = [(draw.choice(places), copy.deepcopy(draw.choice(values))) for _ in range(draw.choice((1, 1, 2)))]
        if kind == "words":
            fields = {".".join(map(str, place)): value for place, value in chosen if "class" not in place}
            return outcome(lambda: check(change(whole[which], fields)))
        plain = copy.deepcopy(plains[which])
        for place, value in chosen:
            put(plain, place, value)
        return outcome(lambda: check(from_dict(plain, Recipe)))

    return attempt


def leaves(plain, place=()):
    """The paths of all values in plain data."""
    if place:
        yield place
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, item in items:
        yield from leaves(item, (*place, key))


def put(plain, place, value) -> None:
    """Change the value at a path, unless an earlier change has removed it."""
    try:
        for key in place[:-1]:
            plain = plain[key]
        plain[place[-1]] = value
    except (KeyError, IndexError, TypeError):
        return


def sources(folder: Path) -> Attempt:
    """Data sets as they come: folders, archives, lists, tables, records, arrays."""
    import pytest

    sys.path.insert(0, str(HOME / "data"))
    from test_damaged_sources import damage, read
    from test_sources import MAKERS, stanford_dogs

    patch = pytest.MonkeyPatch()
    opened = {}
    for make in MAKERS:
        place = folder / make.__name__
        place.mkdir(parents=True, exist_ok=True)
        source, *_ = make(place, patch)
        files = sorted(path for path in place.rglob("*") if path.is_file() and path.stat().st_size)
        opened[make] = source, {path: path.read_bytes() for path in files}
    quick = [make for make in opened if make is not stanford_dogs]  # which starts a process for each file

    def attempt(number: int) -> str:
        draw = random.Random(number)
        make = stanford_dogs if number % 100 == 0 else draw.choice(quick)
        source, files = opened[make]
        print(make.__name__, end=" ", flush=True)
        damage(list(files), draw)
        found = outcome(lambda: read(source, folder))
        for path, content in files.items():
            path.write_bytes(content)
        return found

    return attempt


def students(folder: Path) -> Attempt:
    """A finished run and its data, used by the whole Python API."""
    from tests.faults.student_fuzz import opened

    return opened(folder)


def worst(outcomes: set[str]) -> str:
    bad = sorted(outcomes - {"read", "refused"})
    return bad[0] if bad else "refused" if "refused" in outcomes else "read"


def faulty(folder: Path) -> Attempt:
    """Faults that must be found, for the test of this file."""

    def attempt(number: int) -> str:
        if number == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 3:
            time.sleep(1000)
        return outcome(lambda: [][1] if number == 2 else None)

    return attempt


KINDS: dict[str, Callable[[Path], Attempt]] = {
    each.__name__: each for each in (beton, runs, recipes, sources, students)
}


def attack(kind: str, folder: Path, first: int) -> None:
    """Attempts from a number on, one line each, until the process is ended."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    attempt = (KINDS | {"faulty": faulty})[kind](folder)
    for number in itertools.count(first):
        print("#", number, end=" ", flush=True)
        result = attempt(number)
        print("…", result, flush=True)


class Faults(list[str]):
    """Lines that are also printed immediately, so that a long run can be watched."""

    def append(self, line: str) -> None:
        super().append(line)
        print(line, file=sys.stderr, flush=True)


def fuzz(kind: str, seconds: float, first: int = 0) -> tuple[Counter[str], list[str]]:
    """Numbers of successful and rejected attempts, and a line for each other result."""
    results: Counter[str] = Counter()
    faults = Faults()
    until = time.monotonic() + seconds
    while time.monotonic() < until and len(faults) < 50:
        with tempfile.TemporaryDirectory() as folder:
            first = _session(kind, Path(folder), first, until, results, faults)
    return results, faults


def _session(kind: str, folder: Path, first: int, until: float, results: Counter[str], faults: list[str]) -> int:
    """One process; returns the number of the next attempt."""
    command = [sys.executable, "-m", "tests.faults.fuzz", kind, "--from", str(first), str(folder)]
    with (
        open(folder / "errors", "w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        lines: Queue[str] = Queue()
        reader = threading.Thread(target=hand_on, args=(process.stdout, lines), daemon=True)
        reader.start()
        patience, spent = 5 * HANG, 0.0  # for the first, which imports everything
        try:
            while time.monotonic() < until:
                try:
                    line = lines.get(timeout=min(patience, max(0.1, until - time.monotonic())))
                except Empty:
                    if IDLE < seconds_of(process.pid) - spent < patience:
                        continue
                    raise
                spent = seconds_of(process.pid)
                if "… " not in line:  # the end of the process
                    errors.seek(0)
                    said = errors.read()[-300:]
                    faults.append(f"attempt {first} ended the process: {process.wait()}, {line.strip()} {said!r}")
                    return first + 1
                patience, first, result = HANG, int(line.split()[1]) + 1, line.rpartition("… ")[2].strip()
                results[result if result in ("read", "refused") else "other"] += 1
                if result not in ("read", "refused"):
                    faults.append(line.strip())
        except Empty:
            if time.monotonic() < until:
                faults.append(f"attempt {first} stands still for {patience} s")
                return first + 1
        finally:
            process.kill()
            reader.join()
    return first


def seconds_of(number: int) -> float:
    """CPU seconds of a process and its children; 0 after its end."""
    try:
        return sum(psutil.Process(number).cpu_times()[:4])
    except psutil.Error:
        return 0.0


def hand_on(stream, lines: Queue[str]) -> None:
    """The lines of a process as they are printed, and an empty one at its end."""
    for line in stream:
        lines.put(line)
    lines.put("")


def main(kind: str, *words: str) -> int:
    if words[0] == "--from":
        attack(kind, Path(words[2]), int(words[1]))
    results, faults = fuzz(kind, float(words[0]), int(words[1]) if len(words) > 1 else 0)
    print(json.dumps({"kind": kind, "seconds": float(words[0]), **results, "faults": len(faults)}))
    print(*faults, sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
