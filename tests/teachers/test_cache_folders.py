"""raykd data clean lists caches and removes the least recently used ones, except those in use."""

import os
import subprocess
import sys
import textwrap

import pytest

from raykd.__main__ import main
from raykd.teachers.cache import folders


@pytest.fixture
def root(tmp_path):
    """Three caches, of 1, 2 and 3 MB, used one after the other, and one of an earlier version."""
    place = folders.root_of(str(tmp_path))
    for age, megabytes in ((3, 1), (2, 2), (1, 3)):
        cache = place / f"resnet20-logits-{megabytes}"
        cache.mkdir(parents=True)
        about = '{"teacher": "resnet20", "what": "logits", "kept": "float16", "data": "digits-1", "seed": 7}'
        (cache / "about.json").write_text(about)
        (cache / "000000.rows").write_bytes(os.urandom(megabytes * 10**6))
        os.utime(cache / "about.json", (1.7e9 - age * 1e6,) * 2)
    old = place / "resnet20-0123456789abcdef"
    old.mkdir()
    (old / "pass-000000.logits").write_bytes(os.urandom(500_000))
    os.utime(old, (1e9, 1e9))
    return tmp_path


def names(root) -> set[str]:
    return {path.name for path in folders.all_in(folders.root_of(str(root)))}


def clean(root, capsys, *arguments, status=0) -> str:
    assert main(["data", "clean", "--root", str(root), *arguments]) == status
    return capsys.readouterr().out


def test_listing_removes_nothing(root, capsys):
    before = names(root)
    said = clean(root, capsys)
    lines = said.splitlines()
    assert "of an earlier version" in lines[1] and [line.split()[2] for line in lines[2:5]] == [
        "0.001",
        "0.002",
        "0.003",
    ]
    assert "4 in" in said and "0.01 GB; 0.00 GB would be freed" in said and names(root) == before


def test_the_oldest_caches_are_removed_until_the_rest_fits(root, capsys):
    said = clean(root, capsys, "--keep-gb", "0.0051", status=2)
    assert said.count("yes") == 2 and len(names(root)) == 4
    clean(root, capsys, "--keep-gb", "0.0051", "--yes")
    assert names(root) == {"resnet20-logits-2", "resnet20-logits-3"}
    clean(root, capsys, "--keep-gb", "0", "--yes")
    assert not names(root) and "no caches" in clean(root, capsys)


def test_a_cache_in_use_is_not_removed(root, capsys):
    place = folders.root_of(str(root)) / "resnet20-logits-1"
    program = f"""
        import sys
        from pathlib import Path
        from raykd.teachers.cache import folders
        folders.use(Path({str(place)!r}), {{}})
        print("using", flush=True)
        sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "using\n"
    said = clean(root, capsys, "--keep-gb", "0", "--yes")
    assert "resnet20-logits-1 was not removed: a run is using it" in said and names(root) == {place.name}
    process.kill()
    process.communicate()
    clean(root, capsys, "--keep-gb", "0", "--yes")
    assert not names(root)


def test_using_a_cache_makes_it_the_newest(root):
    place = folders.root_of(str(root))
    folders.use(place / "resnet20-logits-1", {"teacher": "other"})
    newest = folders.oldest_first(place)[-1]
    assert newest.path.name == "resnet20-logits-1" and newest.about["teacher"] == "resnet20"


def test_other_files_are_not_removed(root, capsys, tmp_path):
    """Trained teachers' runs stand in STORAGE/teachers, and a storage may be the data root."""
    place = folders.root_of(str(root))
    (place / "resnet20-v2-c74168b4223e" / "checkpoints").mkdir(parents=True)
    (place / "resnet20-v2-c74168b4223e" / "recipe.json").write_text("{}")
    (place / "mixed").mkdir()
    (place / "mixed" / "about.json").write_text("{}")
    (place / "mixed" / "student.safetensors").write_text("weights")
    (place / "empty").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "about.json").write_text("{}")
    (place / "link").symlink_to(elsewhere)
    others = {"resnet20-v2-c74168b4223e", "mixed", "empty", "link"}
    clean(root, capsys, "--keep-gb", "0", "--yes")
    assert {path.name for path in place.iterdir()} == others and (elsewhere / "about.json").exists()


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "\xff", None])
def test_a_cache_with_a_damaged_description_is_listed(root, capsys, content):
    about = folders.root_of(str(root)) / "resnet20-logits-1" / "about.json"
    about.unlink()
    os.mkfifo(about) if content is None else about.write_text(content, encoding="latin-1")
    assert clean(root, capsys).count("of an earlier version") == 2
