"""`raykd predict` and the predictor give the probabilities of the run's evaluation."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from raykd import UserError
from raykd.__main__ import main
from raykd.contract import Placement
from raykd.deploy.predictor import Predictor
from raykd.runs.checkpoints.checkpoint import newest
from raykd.runs.recipe import recipe_of
from raykd.storage.folder import Folder
from raykd.training.setup import Experiment


def evaluated(run: Folder) -> np.ndarray:
    """Probabilities of the deployed network on the evaluation split, from the run's own data files and checkpoint."""
    opened = Experiment(recipe_of(run), Placement(torch.device("cpu"), 1))
    state = opened.new_state()
    state.restore(newest(run, print)[0])
    with torch.inference_mode():
        logits = [
            next(iter(state.evaluated.eval().predict(batch.images).values())) for batch in opened.test_data.batches()
        ]
    return torch.cat(logits).softmax(1).numpy()


def test_predictions_from_files_equal_the_evaluation_of_the_test_split(folder_run, images):
    wanted = evaluated(folder_run)
    files = sorted((images / "val").rglob("*.jpg"))
    found = Predictor(folder_run, recipe_of(folder_run), batch_size=7).probabilities(files)
    assert np.abs(found - wanted).max() < 1e-5 and (found.argmax(1) == wanted.argmax(1)).all()
    right = np.mean([path.parent.name == ("coarse", "fine", "middle")[k] for path, k in zip(files, found.argmax(1))])
    assert right == pytest.approx(json.loads(folder_run.read("result.json"))["top1"])


@pytest.fixture(scope="module")
def digit():
    """The test split's first digits, uint8 [20, 32, 32, 3]."""
    digits = load_digits()
    _, test = train_test_split(np.arange(1797), test_size=450, random_state=0, stratify=digits.target)
    pixels = np.rint(digits.images[test[:20]] * (255 / 16)).astype(np.uint8)
    return np.kron(pixels, np.ones((1, 4, 4), np.uint8))[..., None].repeat(3, 3)


def test_images_may_be_paths_bytes_arrays_or_pil_images(digits, digit, tmp_path):
    wanted, predictor = evaluated(digits), Predictor(digits, recipe_of(digits))
    paths = [tmp_path / f"{i:02}.png" for i in range(20)]
    for path, pixels in zip(paths, digit):
        Image.fromarray(pixels).save(path)
    kinds = [paths, map(str, paths), [path.read_bytes() for path in paths], digit, map(Image.fromarray, digit)]
    for given in kinds:
        assert np.abs(predictor.probabilities(given) - wanted[:20]).max() < 1e-5
    assert predictor.predict([]) == []


def test_predict_prints_the_most_probable_classes(digits, digit, tmp_path, capsys):
    Image.fromarray(digit[0]).save(tmp_path / "first.png")
    row = Predictor(digits, recipe_of(digits)).probabilities([digit[0]])[0]
    best = [str(k) for k in np.argsort(-row)[:3]]
    assert main(["predict", digits.location, str(tmp_path), "--top", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(tmp_path / "first.png")
    assert [each["class"] for each in said["predictions"]] == best
    assert said["predictions"][0]["probability"] == pytest.approx(row.max(), abs=1e-6)
    assert main(["predict", digits.location, str(tmp_path / "first.png"), "--top", "1"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/first.png: {best[0]} {100 * row.max():.2f} %\n"


def test_unreadable_images_are_named_and_the_others_classified(digits, digit, tmp_path, capsys):
    Image.fromarray(digit[0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    Image.fromarray(digit[0][:20]).save(tmp_path / "c.png")
    assert main(["predict", digits.location, str(tmp_path), "--top", "1"]) == 2
    said = capsys.readouterr()
    assert said.out.count("\n") == 1 and "a.png" in said.out
    assert "b.png can't be read" in said.err and "c.png is 32×20 pixels" in said.err and "32×32" in said.err


def test_missing_images_and_runs_are_rejected(digits, tmp_path, capsys):
    with pytest.raises(UserError, match="picture 1 can't be read"):
        Predictor(digits, recipe_of(digits)).predict([np.zeros((32, 32, 3), np.uint8), b"no image"])
    for words, said in (
        ([digits.location], "needs images"),
        ([digits.location, str(tmp_path)], "contains no image files"),
        ([digits.location, str(tmp_path / "none.png")], "does not exist"),
        ([str(tmp_path), str(tmp_path)], "is not a run directory"),
    ):
        assert main(["predict", *words]) == 2
        assert said in capsys.readouterr().err
