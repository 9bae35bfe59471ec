"""How runs are grouped into rows: seeds count once, irrelevant settings are ignored, and baselines must be
comparable."""

import json
import shutil

import pytest

from raykd.reports.make import make
from raykd.reports.settings import settings
from tests.support.synthetic_runs import write_run

TEACHER = {
    "class": "raykd.recipe:Train",
    "recipe": {"class": "raykd.recipe:Recipe", "student": {"class": "raykd.models.config:Network", "name": "resnet20"}},
    "seeds": [0, 1, 2],
}


def labels(root):
    return {item.label: item.last.n for item in make([str(root)]).entries}


def teachers(source):
    return {"class": "raykd.recipe:Teachers", "sources": [source], "max_parallel": 0}


def test_settings_without_effect_are_not_a_difference(tmp_path, recipe):
    """Fields that say where and how a run is executed, and fields that are newer than the other run."""
    write_run(tmp_path, recipe("KD", 0), "kd-seed0")
    write_run(tmp_path, recipe("KD", 1, collective_timeout=5, node_labels=["a=b"], workers=7), "kd-seed1")
    data = recipe()["data"] | {"shared": "/mnt/other", "root": "/elsewhere", "loader": "torch", "order": "random"}
    write_run(tmp_path, recipe("KD", 2, data=data, log_every=1, ema=0.0), "another-name")
    assert labels(tmp_path) == {"KD": 3}


def test_copies_and_repeated_seeds_count_once(tmp_path, recipe):
    for seed in (0, 1):
        write_run(tmp_path, recipe("KD", seed), f"kd-seed{seed}")
    once = make([str(tmp_path)]).entries[0]
    shutil.copytree(tmp_path / "kd-seed0", tmp_path / "copy of kd-seed0")
    write_run(tmp_path, recipe("KD", 1, workers=5), "kd-seed1-again", top1=0.5)
    made = make([str(tmp_path)])
    assert made.entries[0].last == once.last and once.last.n == 2
    assert [(repeat.run.path.name, repeat.is_copy) for repeat in made.repeats] == [
        ("kd-seed0", True),
        ("kd-seed1-again", False),
    ]


def test_runs_that_were_evaluated_on_other_images_are_not_compared(tmp_path, recipe):
    """The folder of images had changed between them; one without a record of its images is of the others."""
    for name in ("Supervised", "KD"):
        for seed in (0, 1):
            write_run(tmp_path, recipe(name, seed), f"{name}-seed{seed}")
    (tmp_path / "KD-seed1" / "evaluation.json").unlink()
    path = tmp_path / "KD-seed0" / "evaluation.json"
    evaluation = json.loads(path.read_text())
    for network in evaluation["networks"].values():
        network["per_class_count"][0] += 5
    assert len(make([str(tmp_path)]).sections) == 1
    path.write_text(json.dumps(evaluation))
    rows = {item.section.partition(" (")[2]: [] for item in make([str(tmp_path)]).entries}
    for item in make([str(tmp_path)]).entries:
        rows[item.section.partition(" (")[2]].append((item.label, item.last.n, item.baseline.row is None))
    count, classes = sum(network["per_class_count"]), len(network["per_class_count"])
    assert {name: sorted(of) for name, of in rows.items()} == {
        f"images 1 of 2: {count - 5:,} of {classes} classes)": [("KD", 1, False), ("Supervised", 2, True)],
        f"images 2 of 2: {count:,} of {classes} classes)": [("KD", 1, True)],
    }


def test_teacher_seeds_distinguish_runs_but_not_rows(tmp_path, recipe):
    other = TEACHER | {"seeds": [3, 4, 5]}
    write_run(tmp_path, recipe("KD", 0, teachers=teachers(TEACHER)), "a")
    write_run(tmp_path, recipe("KD", 0, teachers=teachers(other)), "b")
    write_run(tmp_path, recipe("KD", 0, teachers=teachers(other | {"seeds": [3]})), "c")
    assert sorted(labels(tmp_path).values()) == [1, 2], "one teacher is another experiment than three"


def test_rows_are_named_by_their_differences(tmp_path, recipe):
    cold = {"class": "raykd.methods.kd:KD.Config", "temperature": 2.0}
    for seed in (0, 1):
        write_run(tmp_path, recipe("KD", seed), f"kd-seed{seed}")
        write_run(tmp_path, recipe("KD", seed) | {"method": cold}, f"kd-t2-seed{seed}")
    made = make([str(tmp_path)])
    assert {(item.label, item.row.name, item.last.n) for item in made.entries} == {
        ("KD (temperature 4)", "kd", 2),
        ("KD (temperature 2)", "kd-t2", 2),
    }


def test_two_recipes_of_one_name_are_two_rows(tmp_path, recipe):
    cold = {"class": "raykd.methods.kd:KD.Config", "temperature": 2.0}
    write_run(tmp_path, recipe("KD", 0), "kd-seed0")
    write_run(tmp_path, recipe("KD", 1) | {"method": cold}, "kd-seed1")
    assert labels(tmp_path) == {"KD (temperature 4)": 1, "KD (temperature 2)": 1}


def test_rows_with_many_differences_have_unique_names(tmp_path, recipe):
    for i, name in enumerate("ab"):
        changed = {"epochs": 4, "batch_size": 64 + i, "ema": 0.1 * i, "accumulate": 1 + i}
        optimizer = {"class": "raykd.recipe:SGD", "learning_rate": 0.2 + i}
        write_run(tmp_path, recipe("KD", 0, optimizer=optimizer, **changed), name)
    assert len(labels(tmp_path)) == 2


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"epochs": 30}, "Supervised differs in epochs (4, here 30)"),
        ({"image": 64}, "Supervised differs in data.image_size (32, here 64)"),
        ({"weights": "pretrained"}, "Supervised differs in student.weights (, here pretrained)"),
        ({"student": "resnet110"}, "no finished run of Supervised with this student and data"),
    ],
)
def test_a_baseline_must_have_the_same_length_data_and_student(tmp_path, recipe, change, reason):
    write_run(tmp_path, recipe("Supervised", 0), "supervised")
    own = recipe("KD", 0)
    own["epochs"] = change.get("epochs", 4)
    own["data"]["image_size"] = change.get("image", 32)
    own["student"] |= {"weights": change.get("weights", ""), "name": change.get("student", "resnet8x4")}
    write_run(tmp_path, own, "kd")
    (kd,) = [item for item in make([str(tmp_path)]).entries if item.label == "KD"]
    assert kd.gain is None and kd.baseline.reason == reason


def test_settings_exclude_defaults_and_machines(recipe):
    source = {"class": "raykd.data.sources.folders:ImageFolder", "path": "/data/pets", "train": "train"}
    fields = settings(recipe(data=recipe()["data"] | {"source": source}))
    assert fields["data.source.path"] == "pets" and fields["epochs"] == 4 and "workers" not in fields
    assert not {name for name in fields if name.startswith(("wandb", "published", "data.root", "data.source.train"))}


@pytest.mark.parametrize("field, value", [("momentum", 0.0), ("nesterov", False), ("learning_rate", 0.1)])
def test_zero_is_not_a_default(recipe, field, value):
    sgd = {"class": "raykd.recipe:SGD", "momentum": 0.9, "nesterov": True, "learning_rate": 0.05}
    one, other = settings(recipe(optimizer=sgd)), settings(recipe(optimizer=sgd | {field: value}))
    assert one != other
