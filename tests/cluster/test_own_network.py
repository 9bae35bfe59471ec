"""A user's network with weights by URL, wherever Ray is used: workers, teachers, trials, cells, jobs."""

import hashlib
import json
import textwrap

import pytest
import torch
from PIL import Image

from tests.cluster.head import head
from tests.support import tiny_recipe as tiny

NETS = """
from torch import nn


class Small(nn.Module):
    def __init__(self, num_classes, width):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.last = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.last(self.two(self.one(images)).mean((2, 3)))
"""

OWN = """
from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.recipe import Pretrained
from raykd.recipe.study import Column, Row, Study

own = Network(name="own_nets:Small", options={{"width": 4}}, stages=("one", "two"))
weights = {{"weights": {url!r}, "sha256": {sha256!r}}}
base = replace(base, student=own, data=replace(base.data, download=True), epochs=1)
taught = replace(base, method=FitNetMKD.Config(), teachers=Teachers(sources=(
    Train(recipe=replace(base, student=replace(own, options={{"width": 6}}))),
    Pretrained(network=replace(own, options={{"width": 8}}, **weights), mean=base.data.mean, std=base.data.std),
)))
recipe = replace(taught, workers=2, teachers=replace(taught.teachers, placement="remote"))
study = Study(
    rows=(Row(name="alone", method=Fragile.Config()), Row(name="taught", method=FitNetMKD.Config())),
    columns=(Column(name="own", recipe=taught),),
    baseline="alone",
    seeds=(0,),
)
"""

SEARCH = """
recipe = replace(base, search=Search(samples=1, space={"student.options.width": tune.grid_search([2, 3])}))
"""

SUBMIT = """
import sys
from dataclasses import replace
import raykd

path, address = sys.argv[1:]
recipe = replace(raykd.load_recipe(path), seed=3)
job = raykd.submit(recipe, address=address, name="made/here", wandb_key="cluster", wait=False)
job.follow(print)
print("ended:", job.status, job.exit_status)
job = raykd.submit(path, address=address, name="made/study", command="study", wandb_key="cluster")
print("ended:", job.status, job.exit_status)
"""

LOAD = """
import sys
import raykd

run = raykd.load(sys.argv[1] + "/made/here", trust_source=True)
print(run.recipe.seed, run.result["status"], len(run.predict(sys.argv[2])[0]))
print([raykd.load(f"{sys.argv[1]}/made/study/{row}/own/0").result["status"] for row in ("alone", "taught")])
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_runs_in_workers_teachers_trials_cells_and_jobs(tmp_path):
    (tmp_path / "own_nets.py").write_text(NETS)
    url, sha256 = weights_of(NETS, tmp_path / "large.pth")
    path = tiny.write(tmp_path, "own_recipe", "base", tmp_path / "data")
    path.write_text(path.read_text() + textwrap.dedent(OWN).format(url=url, sha256=sha256))
    searched = tmp_path / "own_search.py"
    searched.write_text(path.read_text() + SEARCH)
    with head(5, WANDB_MODE="disabled") as one:
        runs = one.folder / "raykd/runs"

        # In Python, in a folder outside the project.
        submitted = one.run("python", "-c", SUBMIT, str(path), one.dashboard, timeout=2400, cwd=tmp_path)
        assert submitted.stdout.count("ended: succeeded 0") == 2, submitted.stdout + submitted.stderr
        assert "teacher own_nets:Small-1: top-1" in submitted.stdout
        assert read(runs / "made/here/result.json")["workers"] == 2
        assert (runs / "made/here/source/own_nets.py").read_text() == NETS
        image = tmp_path / "image.png"
        Image.new("L", (8, 8)).save(image)
        loaded = one.run("python", "-c", LOAD, str(runs), str(image), cwd=tmp_path)
        assert loaded.stdout == "3 finished 5\n['finished', 'finished']\n", loaded.stdout + loaded.stderr

        submit = ("raykd", "submit", str(searched), "--address", one.dashboard, "--command")
        tuned = one.run(*submit, "tune", "--name", "search", timeout=900)
        assert tuned.returncode == 0, tuned.stdout + tuned.stderr
        assert read(runs / "search/search.json")["states"] == {"finished": 2}


def weights_of(source, path):
    """URL and hash of a file of random weights for the user's network with width 8."""
    names = {}
    exec(source, names)
    torch.manual_seed(0)
    torch.save({"state_dict": names["Small"](10, 8).state_dict()}, path)
    return path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest()


def read(path):
    return json.loads(path.read_text())
