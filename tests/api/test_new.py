"""`raykd new`: the recipe that it writes loads, fits the images, and runs, for every method that makes one."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from raykd import UserError
from raykd.__main__ import main
from raykd.api.new.choices import batch_for, rate_for, size_for
from raykd.api.new.methods import APART, entries
from raykd.api.new.options import NewOptions
from raykd.api.new.source import source_of
from raykd.api.new.write import new_recipe
from raykd.data import sources as s
from raykd.data.config import Prepared
from raykd.launch.driver.validate import check
from raykd.recipe import Run, Train
from raykd.recipe.files.load import load

GENERIC = [each.module for each in entries() if each.module not in APART]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of 40 and 24 images with sides of 20 to 40 pixels."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, count in (("ant", 40), ("bee", 24)):
        (folder / name).mkdir()
        for i in range(count):
            height, width = generator.integers(20, 41, 2) if i > 1 else (20, 40)
            pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("method", GENERIC)
def test_every_methods_recipe_loads_and_can_be_run(method, photos, home):
    student = "timm:test_resnet" if method in ("teskd", "base.multi_teacher") else "resnet8"
    needs_teacher = next(each for each in entries() if each.module == method).needs_teacher
    teacher = ("resnet20" if student == "resnet8" else student) if needs_teacher else ""
    path = home / f"new_{method.replace('.', '_')}.py"
    choices = new_recipe(path, NewOptions(data=str(photos), student=student, teacher=teacher, method=method))
    recipe = load(path).recipe
    check(recipe)
    assert type(recipe.method).__module__ == f"raykd.methods.{method}" and recipe.student.name == student
    assert recipe.data.mean == pytest.approx(choices.prepared.mean, abs=1e-4)
    assert recipe.data.image_size == 20 and recipe.batch_size == 8
    if needs_teacher:
        (source,) = recipe.teachers.sources
        assert isinstance(source, Train) and len(source.seeds) == choices.teachers
        assert (source.recipe.student.name, source.recipe.data.source) == (teacher, recipe.data.source)


def test_a_new_recipe_trains_unchanged(photos, home, capsys):
    words = ["new", "mine.py", "--data", str(photos), "--teacher", "resnet20", "--student", "resnet8"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "2 classes: ant, bee" in said and "raykd train mine.py" in said
    written = (home / "mine.py").read_text()
    assert "'bee'" in written and max(len(line) for line in written.splitlines() if str(photos) not in line) <= 120
    quick = ["--epochs", "0.2", "--workers", "0", "--wandb.mode", "disabled", "--storage", str(home / "runs")]
    quick += ["--teachers.sources.0.recipe.epochs", "0.2", "--teachers.sources.0.recipe.workers", "0"]
    quick += ["--teachers.sources.0.recipe.wandb.mode", "disabled", "--name", "mine"]
    assert main(["train", "mine.py", *quick]) == 0
    assert "student distilled" in capsys.readouterr().out
    assert main(words) == 2 and "already exists" in capsys.readouterr().err
    assert (home / "mine.py").read_text() == written
    new_recipe(home / "again.py", NewOptions(data=str(photos), student="resnet8", teacher="runs/mine"))
    (source,) = load(home / "again.py").recipe.teachers.sources
    assert isinstance(source, Run) and source.path == str(home / "runs/mine")


def test_folder_names_are_quoted_safely(photos, home):
    """The recipe contains the name as text: with quotes, backslashes, line breaks, and bytes that are not UTF-8."""
    odd = home / 'a"""\nraise SystemExit(3)\n"""\\N#\udcff é'
    odd.symlink_to(photos)
    choices = new_recipe(home / "mine.py", NewOptions(data=str(odd), student="resnet8", method="supervised"))
    made = load(home / "mine.py")
    assert made.recipe.data.source == choices.source and made.recipe.data.source.path == str(odd)


@pytest.mark.parametrize(
    ("to", "changes", "says"),
    [
        ("mine.txt", {}, "mine.txt: a recipe's file name must be a Python name"),
        ("two-words.py", {}, "a recipe's file name must be a Python name"),
        ("nowhere/mine.py", {}, "is not a folder"),
        ("mine.py", {"data": "none"}, "neither a file or folder nor"),
        ("mine.py", {"data": "huggingface"}, "it needs dataset"),
        ("mine.py", {"teacher": ""}, "needs --teacher"),
        ("mine.py", {"method": "supervised"}, "use a teacher: remove --teacher"),
        ("mine.py", {"method": "dkdd"}, "did you mean dkd"),
        ("mine.py", {"method": "sum"}, "can't be used with raykd new"),
        ("mine.py", {"student": "resnet9"}, "unknown network 'resnet9'"),
        ("mine.py", {"method": "teskd", "teacher": ""}, "stage"),
    ],
)
def test_rejected_input_writes_no_file(to, changes, says, photos, home):
    wanted = {"data": str(photos), "student": "resnet8", "teacher": "resnet20"} | changes
    with pytest.raises(UserError, match=says):
        new_recipe(home / to, NewOptions(**wanted))
    assert not list(home.glob("**/*.py"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train/a/0.png", "test/a/0.png"), s.ImageFolder(path="{}", test="test")),
        (("Training/a/0.png", "Validation/a/0.png"), s.ImageFolder(path="{}", train="Training", test="Validation")),
        (("train/a/0.png", "val/a/0.png", "test/a/0.png"), s.ImageFolder(path="{}")),
        (("a/0.png", "b/0.png"), s.ImageFolder(path="{}")),
        (("train-0.tar", "train-1.tar", "val-0.tar"), s.WebDataset(path="{}/train*.tar", test="{}/val*.tar")),
        (("train-0.parquet",), s.Table(path="{}/train*.parquet")),
        (("train.tfrecord-0", "test.tfrecord-0"), s.TFRecord(path="{}", test="test*tfrecord*")),
    ],
)
def test_the_source_is_chosen_from_a_folders_content(names, expected, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    fields = {name: value.format(tmp_path) for name, value in vars(expected).items() if isinstance(value, str)}
    assert source_of(str(tmp_path)) == replace(expected, **fields)


def test_the_source_of_a_file_is_chosen_by_its_suffix(home):
    for name in ("a.npz", "b-0.tar", "b-1.tar", "c.csv", "d.beton"):
        (home / name).touch()
    assert source_of("a.npz") == s.Npz(path=f"{home}/a.npz")
    assert source_of("b-*.tar") == s.WebDataset(path=f"{home}/b-*.tar")
    assert source_of("c.csv") == s.Table(path=f"{home}/c.csv")
    with pytest.raises(UserError, match="write the recipe by hand, with Beton"):
        source_of("d.beton")


def test_settings_follow_from_number_and_size_of_the_images(tmp_path):
    assert [batch_for(count) for count in (1, 120, 1347, 10_000, 1_281_167)] == [8, 8, 64, 128, 128]
    assert (rate_for(128, False), rate_for(32, False), rate_for(128, True)) == (1e-3, 5e-4, 2e-4)
    sides = {(8, 8): 8, (64, 64): 64, (100, 140): 96, (500, 700): 224, (70, 2000): 64}
    for given, size in sides.items():
        prepared = Prepared(train=tmp_path, test=None, classes=(), train_size=1, test_size=0, sides=given)
        assert size_for(prepared) == size
