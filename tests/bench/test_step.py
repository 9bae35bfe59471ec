"""`raykd bench`: what it measures and recommends; the command line's help imports no heavy library."""

import subprocess
import sys
from dataclasses import replace

import pytest

from raykd.bench.step import Speed, measure, placeholder_teachers
from raykd.commands.bench import advice, table
from raykd.methods.kd import KD
from raykd.recipe import Precision, Teachers, Train
from tests.support import tiny_training as tiny

PARTS = {"data": 0.0, "teacher": 0.01, "student": 0.03, "backward": 0.05, "optimizer": 0.01}


def speed(**changes) -> Speed:
    plain = Speed(images=64, loader=0.01, teachers=0.01, first=1.0, whole=0.1, parts=PARTS)
    return replace(plain, **changes)


def test_the_parts_of_a_step_are_measured():
    recipe = tiny.recipe(method=KD.Config(), teachers=Teachers(sources=(Train(recipe=tiny.recipe(), seeds=(3,)),)))
    found = measure(recipe, 2, tiny.CPU, 1, seconds=0.2)
    assert found.images == recipe.batch_size // 2
    assert set(found.parts) == {"data", "teacher", "student", "backward", "optimizer"}
    assert min(found.loader, found.teachers, found.first, found.whole) > 0
    assert list(found.by_precision) == ["the recipe's precision", "bfloat16"] and min(found.by_precision.values()) > 0
    assert table(found, recipe, 2).row_count == 3 + len(found.parts) + len(found.by_precision) + 1


def test_a_run_shorter_than_the_measurement_can_be_measured():
    assert measure(tiny.recipe(epochs=0.1), 1, tiny.CPU, 1, seconds=0.2).whole > 0


def test_untrained_teachers_are_replaced_by_random_ones():
    taught = tiny.recipe(teachers=Teachers(sources=(Train(recipe=tiny.recipe(), seeds=(3,)),)))
    (teacher,) = placeholder_teachers(taught, tuple("0123456789"), tiny.CPU)
    assert (teacher.name, teacher.network.num_classes) == ("resnet8-3", 10)
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (speed(), "Bottleneck: the student (90 % of a step). Try more --workers"),
        (speed(teachers=0.06), "Bottleneck: the teachers (60 % of a step). Try fewer or smaller ones"),
        (
            speed(parts=PARTS | {"data": 0.05}),
            "Bottleneck: the loader (50 % of a step waits for it). Try more --cpus-per-worker",
        ),
    ],
)
def test_advice_names_the_bottleneck(found: Speed, wanted: str):
    assert advice(found, tiny.recipe())[0].startswith(wanted)


def test_advice_names_only_unused_options():
    everything = tiny.recipe(precision=Precision(autocast="bfloat16", compile=True))
    assert advice(speed(), everything) == ["Bottleneck: the student (90 % of a step). Try more --workers"]
    assert "--precision.channels-last" in advice(speed(), tiny.recipe(precision=Precision(channels_last=False)))[1]
    assert "loader" in advice(speed(loader=0.09), everything)[1]
    taught = speed(teachers=0.06, by_precision={"the recipe's precision": 0.06, "bfloat16": 0.03})
    assert all(f"--teachers.{way}" in advice(taught, tiny.recipe())[0] for way in ("form", "placement", "cache"))
    assert "--teachers.form auto (bfloat16 takes 0.50 of the time" in advice(taught, tiny.recipe())[0]
    no_faster = replace(taught, by_precision={"the recipe's precision": 0.06, "bfloat16": 0.07})
    assert "--teachers.form" not in advice(no_faster, tiny.recipe())[0]
    elsewhere = tiny.recipe(teachers=Teachers(sources=(), form="bfloat16", placement="remote"))
    assert "--teachers" not in advice(taught, elsewhere)[0]


def test_help_imports_no_heavy_library():
    code = "import sys; from raykd.__main__ import main; main(['--help']); print(sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "raykd train RECIPE" in said
    assert not [name for name in ("torch", "ray", "numpy", "tyro", "rich", "ffcv", "wandb") if f"'{name}'" in said]
