"""Files from unknown sources: any bytes are read, or rejected in one line; no code is executed."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd import UserError
from raykd.data.config import Prepared
from raykd.data.storage.header import Header, open_header
from raykd.data.storage.prepare import prepare
from raykd.recipe.serial import to_dict
from raykd.recipes.digits.funmatch import recipe as funmatch
from raykd.runs import attempts, metrics_log
from raykd.runs.checkpoints import checkpoint, stamps
from raykd.runs.recipe import recipe_of
from raykd.runs.results.read import read_result
from raykd.storage.folder import Folder

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=6),
    st.just([]),
    st.just({}),
    st.sampled_from(
        ["os:system", "raykd.recipe:Run", "raykd:UserError", "builtins:dict", ":", "raykd.recipe:Recipe.x", "..a:b"]
    ),
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
PLAIN = json.loads(json.dumps(to_dict(funmatch)))


def clear(action):
    """The action's value; a UserError must have one line."""
    try:
        return action()
    except UserError as error:
        assert str(error).strip() and "\n" not in str(error).strip()
        return None


def places(plain, path=()):
    """Paths of all values in plain data."""
    yield path
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


PATHS = sorted(places(PLAIN), key=str)


@QUICK
@given(st.lists(st.tuples(st.sampled_from(PATHS), LEAVES), min_size=1, max_size=3))
def test_mutated_recipes_are_read_or_rejected(tmp_path_factory, changes):
    plain = copy.deepcopy(PLAIN)
    for path, drawn in changes:
        place, value = plain, copy.deepcopy(drawn)  # each by itself: a later change may go into an earlier one's value
        try:
            for key in path[:-1]:
                place = place[key]
            if path:
                place[path[-1]] = value
            else:
                plain = value
        except (KeyError, TypeError, IndexError):
            continue
    run = Folder(tmp_path_factory.getbasetemp() / "recipes")
    run.write("recipe.json", json.dumps(plain))
    found = clear(lambda: recipe_of(run))
    if found is not None and not any(isinstance(v, float) and math.isnan(v) for _, v in changes):
        assert clear(lambda: to_dict(found)) is not None


@QUICK
@given(st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode())))
def test_random_bytes_as_run_files_are_read_or_rejected(tmp_path_factory, content):
    run = Folder(tmp_path_factory.getbasetemp() / "any")
    for name in ("recipe.json", "attempts.json", "result.json", "metrics.jsonl"):
        run.write(name, content)
    run.write("checkpoints/step-000000003/state.pt", content)
    run.write("checkpoints/step-000000003/stamp.json", content)
    for read in (recipe_of, attempts.attempts_of, read_result, metrics_log.lines, stamps.stamps):
        clear(lambda read=read: read(run))
    assert checkpoint.newest(run, str) is None
    clear(lambda: attempts.claim(run, 1))


@QUICK
@given(
    st.dictionaries(st.sampled_from(["step", "epoch", "top1", "fingerprint", "sha256", "size"]), LEAVES),
    st.binary(max_size=50),
)
def test_mutated_stamps_are_read_or_rejected(tmp_path_factory, changes, content):
    run = Folder(tmp_path_factory.getbasetemp() / "stamps")
    good = {"step": 3, "epoch": 0.1, "top1": None, "fingerprint": "f", "sha256": "0", "size": len(content)}
    run.write("checkpoints/step-000000003/stamp.json", json.dumps(good | changes))
    run.write("checkpoints/step-000000003/state.pt", content)
    assert checkpoint.newest(run, str) is None
    clear(lambda: checkpoint.prune(run, 2))


@pytest.fixture(scope="module")
def beton(tmp_path_factory):
    """A file to change in place, and its bytes."""
    path = tmp_path_factory.mktemp("beton") / "fuzz.beton"
    path.write_bytes(prepare(funmatch.data).test.read_bytes())
    return path, path.read_bytes()


AT = st.one_of(st.integers(0, 60), st.integers(1000, 3200), st.integers(-4000, -1))  # from the end: the table
NEW = st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x80" + b"\0" * 7]))


PREPARED = Prepared(train=Path("x"), test=None, classes=tuple("0123456789"), train_size=1, test_size=1)


@QUICK
@given(st.lists(st.tuples(AT, NEW), min_size=1, max_size=4))
def test_mutated_beton_headers_are_read_or_rejected(beton, changes):
    """Bytes changed in header, fields, samples or table: read, or refused; every sample is in the file."""
    path, content = beton
    with path.open("r+b") as file:
        for at, new in changes:
            file.seek(at % len(content))
            file.write(new)
    try:
        header = clear(lambda: Header(path))
        if header is not None:
            clear(lambda: open_header(path, PREPARED))
            inside(header, path.stat().st_size)
    finally:
        with path.open("r+b") as file:
            for at, new in changes:
                at %= len(content)
                file.seek(at)
                file.write(content[at : at + len(new)])
            file.truncate(len(content))


def inside(header, size):
    ends = header.offsets + header.sizes
    assert np.all(header.offsets >= 0) and np.all(header.sizes >= 0) and np.all(ends <= size)
    raw = ~header.jpeg
    assert np.all(header.shapes[raw].prod(1) * 3 <= header.sizes[raw])


@pytest.mark.parametrize("end", [0, 1, 23, 24, 1000, 2106, 3000, 8 << 20, -1, -24, -4000])
def test_truncated_beton_files_are_rejected(beton, tmp_path, end):
    path = tmp_path / "cut.beton"
    path.write_bytes(beton[1][:end])
    assert path.stat().st_size < len(beton[1])
    with pytest.raises(UserError, match="cut.beton"):
        Header(path)
