"""Sources with changed or missing bytes are read, or rejected in one line; no other exception, no endless loop."""

import random

import numpy as np
import pytest
from test_sources import MAKERS, stanford_dogs

from raykd import UserError
from raykd.data.reading import labels
from raykd.data.reading.pictures import DECODE_ERRORS, read_rgb
from raykd.data.storage.prepare import open_source

BYTES = (0, 1, 0x7F, 0x80, 0xFF, ord("\n"), ord(","), ord("9"))


def damage(files, draw: random.Random) -> None:
    """Change some bytes of one file, or truncate it."""
    path = draw.choice(files)
    content = bytearray(path.read_bytes())
    if draw.random() < 0.2:
        del content[draw.randrange(len(content) + 1) :]
    for _ in range(draw.choice((1, 1, 4, 16))):
        if content:
            content[draw.randrange(len(content))] = draw.choice((*BYTES, draw.randrange(256)))
    path.write_bytes(content)


def read(source, root) -> None:
    """Everything that preparation does with a source, except writing files."""
    splits = open_source(source, root, False)
    for name in ("train", "test"):
        part = getattr(splits, name)
        labels.check_labels(np.asarray(part.labels), splits.classes, name, part.name)
        for i in range(len(part.labels)):
            try:
                read_rgb(part.read(i))
            except DECODE_ERRORS as error:  # as the writer of the files takes it
                assert str(error) and part.name(i)


def attempts(tmp_path, patch, make, count, first=0):
    (tmp_path / "source").mkdir()
    source, *_ = make(tmp_path / "source", patch)
    files = sorted(path for path in (tmp_path / "source").rglob("*") if path.is_file() and path.stat().st_size)
    whole = {path: path.read_bytes() for path in files}
    results = {"read": 0, "refused": 0}
    for seed in range(first, first + count):
        damage(files, random.Random(seed))
        try:
            read(source, tmp_path)
            results["read"] += 1
        except UserError as error:
            assert str(error) and len(str(error)) < 2000
            results["refused"] += 1
        for path, content in whole.items():
            path.write_bytes(content)
    return results


@pytest.mark.parametrize("make", MAKERS)
def test_damaged_sources_are_read_or_rejected(tmp_path, monkeypatch, make):
    count = 2 if make is stanford_dogs else 25  # each of which starts a process or two
    assert sum(attempts(tmp_path, monkeypatch, make, count).values()) == count
