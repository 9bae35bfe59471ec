"""raykd data prepare, through the real command line."""

import re

import pytest

from raykd.__main__ import main


def test_a_source_and_a_recipe_share_prepared_files(tmp_path, capsys):
    assert main(["data", "prepare", "digits", "--to", str(tmp_path)]) == 0
    first = capsys.readouterr().out
    assert "train: 1,347 images" in first and "10 classes" in first
    for megabytes, images in zip(re.findall(r"images, ([\d.]+) MB", first), (1347, 450), strict=True):
        # What they take on the disk: their lengths include a hole of 8 MB.
        assert 0 < float(megabytes) < 1.2 * images * 32 * 32 * 3 / 1e6
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.beton"))
    assert main(["data", "prepare", "recipes/digits/kd.py", "--to", str(tmp_path)]) == 0
    assert before == sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.beton"))
    assert len(before) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no recipe and no source named 'nothing'; sources are digits, cifar10"),
        (["imagefolder"], "--source.path"),
        (["imagefolder", "--source.path", "/nowhere"], "/nowhere does not exist"),
        (["cifar10", "--source.path", "/nowhere"], "CIFAR10 is not in /nowhere .*"),
        (["digits", "--encoding.mode", "gif"], "encoding.mode"),
        (["digits", "--to", "/proc/nowhere"], "data.root /proc/nowhere"),
        ([], "raykd data prepare RECIPE|SOURCE"),
    ],
)
def test_invalid_input_is_rejected_in_one_line(tmp_path, capsys, arguments, message):
    if arguments and "--to" not in arguments:
        arguments = [*arguments, "--to", str(tmp_path)]
    assert main(["data", "prepare", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message.rstrip(".*") in error


def test_a_folder_can_be_prepared(tmp_path, capsys, monkeypatch):
    from test_sources import imagefolder

    imagefolder(tmp_path / "source", None)
    (tmp_path / "source" / "val").rename(tmp_path / "source" / "test")
    monkeypatch.chdir(tmp_path)
    for word in ("source", "./source", f"{tmp_path}/source"):
        assert main(["data", "prepare", word, "--to", str(tmp_path / "to"), "--encoding.mode", "raw"]) == 0
    assert "test: " in capsys.readouterr().out and len(list((tmp_path / "to").glob("*/test.beton"))) == 1


def test_corrupt_images_can_be_skipped(tmp_path, capsys):
    from test_sources import imagefolder

    imagefolder(tmp_path / "source", None)
    (tmp_path / "source" / "val" / "cat" / "bad.jpg").write_text("no image")
    common = ["data", "prepare", "imagefolder", "--source.path", str(tmp_path / "source"), "--to", str(tmp_path / "to")]
    assert main(common) == 2
    assert "val/cat/bad.jpg can't be read" in capsys.readouterr().err
    assert main([*common, "--skip-corrupt"]) == 0
    said = capsys.readouterr().out
    assert "test: 3 images" in said and "left out of test:" in said and "val/cat/bad.jpg can't be read" in said
