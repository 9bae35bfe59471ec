"""`raykd export RUN --measure`: costs of the student and its teachers, in the run and in the report."""

import contextlib
import io
import json

import pytest
import torch

from raykd import UserError
from raykd.__main__ import main
from raykd.deploy.onnx.export import float_graph, save
from raykd.deploy.speed import measure
from raykd.deploy.speed.measure import all_threads
from raykd.models import create
from raykd.runs.results.deployment import read_deployment
from raykd.storage.folder import Folder

QUICK = ["--workers", "0", "--wandb.mode", "disabled", "--epochs", "0.2"]
TEACHER = ["--teachers.sources.0.recipe.workers", "0", "--teachers.sources.0.recipe.epochs", "0.2"]


@pytest.fixture(scope="module")
def distilled(storage) -> Folder:
    words = ["recipes/digits/kd.py", "--name", "distilled", "--storage", str(storage), *QUICK, *TEACHER]
    assert main(["train", *words]) == 0
    return Folder(storage / "distilled")


@pytest.fixture(scope="module")
def shown(distilled) -> str:
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setattr(measure, "SECONDS", 0.02)
        assert main(["export", distilled.location, "--measure"]) == 0
    return output.getvalue()


def test_costs_of_student_and_teacher_are_saved_in_the_run(distilled, shown):
    found, evaluation = read_deployment(distilled), json.loads(distilled.read("evaluation.json"))
    student, teacher = found.networks
    assert (student.name, teacher.name) == ("student", "resnet20")
    assert student.top1 == evaluation["networks"]["student"]["top1"]
    assert teacher.top1 == evaluation["teachers"]["resnet20"]["top1"]
    assert (student.parameters, teacher.parameters) == (78_042, 272_474)
    assert student.flops == evaluation["flops"] and teacher.flops > 3 * student.flops
    settings = {(batch, threads) for batch in (1, 32) for threads in (1, all_threads())}
    for network in found.networks:
        assert {(each.batch, each.threads) for each in network.latencies} == settings
        assert all(each.seconds > 0 for each in network.latencies) and network.memory_bytes > 0
        assert network.images_per_second == pytest.approx(max(e.batch / e.seconds for e in network.latencies))
    assert student.file_bytes > 4 * 78_042 * 0.95 and teacher.file_bytes > student.file_bytes


def test_the_printed_table_has_ratios(shown):
    assert "resnet20 : student" in shown and "×3.49" in shown  # 272,474 : 78,042
    assert "32 images, 1 thread" in shown and "images/s" in shown and "onnxruntime" in shown


def test_memory_is_measured_for_the_network_alone(tmp_path):
    """At least its 36 MB of weights, without the memory of the measuring process."""
    network = create("vgg13", 10, 32)
    save(float_graph(network.model.eval(), torch.zeros(2, 3, 32, 32)), tmp_path / "large.onnx", {})
    ballast = bytearray(800_000_000)
    found = measure._memory(str(tmp_path / "large.onnx"), 32)
    size = (tmp_path / "large.onnx").stat().st_size
    assert size < found < 700_000_000 and len(ballast) > found


def test_a_network_that_onnxruntime_cannot_run_is_reported_in_one_line(tmp_path):
    (tmp_path / "none.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="onnxruntime can't run"):
        measure._memory(str(tmp_path / "none.onnx"), 32)


def test_export_requires_a_file_or_a_measurement(digits, capsys):
    assert main(["export", digits.location]) == 2
    assert "--measure" in capsys.readouterr().err
