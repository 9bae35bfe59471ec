"""Every method's step and evaluation on a simulated GPU: tensors of one device only, and no synchronisation."""

import copy
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch

from raykd.data.device.transfer import to_host
from raykd.recipe import SGD, AdamW, Precision
from raykd.teachers.cache.formats import Full
from raykd.teachers.cache.teacher_cache import TeacherCache, TensorCache
from raykd.teachers.frozen_teacher import TeacherPrecision
from raykd.teachers.outputs import teacher_outputs
from tests.support import every_method, gpu_step
from tests.support.simulated_gpu import CUDA, DeviceMismatch, Trace, is_pinned, simulated_gpu

pytestmark = pytest.mark.filterwarnings("ignore:for .*a no-op")  # restoring values that fake tensors lack

SIZES = gpu_step.Sizes()
STUDENTS, TEACHER = ("resnet8", "cifar_resnet18"), "resnet8x4"
METHODS = every_method.configs()


@cache
def case_of(name):
    return every_method.case_of(METHODS[name], partial(gpu_step.network, sizes=SIZES), STUDENTS, TEACHER)


ALL_AT_ONCE = {"ema": 0.99, "optimizer": AdamW(clip_norm=1.0), "accumulate": 3}
APART = {
    "ema": {"ema": 0.99},
    "adamw, clipped": {"optimizer": AdamW(clip_norm=1.0)},
    "sgd, clipped": {"optimizer": SGD(clip_norm=1.0)},
    "accumulated": {"accumulate": 3},
    "first epoch": {"step": 0},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_step_and_an_evaluation_never_synchronise(name):
    with gpu_step.running(case_of(name), SIZES) as run:
        assert not gpu_step.traced_update(run, SIZES).waits
        assert not gpu_step.traced_evaluation(run, SIZES).waits


@pytest.mark.parametrize("name", METHODS)
def test_a_step_with_all_options_never_synchronises(name):
    mixed = not METHODS[name].hard_labels
    with gpu_step.running(case_of(name), SIZES, **ALL_AT_ONCE) as run:
        assert not gpu_step.traced_update(run, SIZES, mixed).waits
        assert not gpu_step.traced_evaluation(run, SIZES).waits


@pytest.mark.slow
@pytest.mark.parametrize("changes", APART.values(), ids=APART)
@pytest.mark.parametrize("name", METHODS)
def test_a_step_with_one_option_never_synchronises(name, changes):
    with gpu_step.running(case_of(name), SIZES, **changes) as run:
        assert not gpu_step.traced_update(run, SIZES).waits


@pytest.mark.parametrize("name", METHODS)
def test_a_run_resumes_from_a_checkpoint_on_the_gpu(name):
    """Within an evaluation interval, so that the meter has sums already; a checkpoint is on the CPU."""
    with gpu_step.running(case_of(name), SIZES, ema=0.9) as run:
        gpu_step.traced_update(run, SIZES)
        run.state.restore(run.state.snapshot())
        assert not gpu_step.traced_update(run, SIZES).waits
        meter = [*run.state.meter.sums.values(), run.state.meter.norm]
        velocities = [v for state in run.state.optimizer.state.values() for v in state.values()]
        assert {t.device for t in meter + velocities if isinstance(t, torch.Tensor)} == {CUDA}


PRECISIONS = [
    ("bfloat16", TeacherPrecision()),
    ("bfloat16", TeacherPrecision("bfloat16")),
    ("float32", TeacherPrecision("bfloat16")),
    pytest.param("float16", TeacherPrecision("float16"), marks=pytest.mark.slow),
    pytest.param("float16", TeacherPrecision(), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("autocast", "form"), PRECISIONS, ids=lambda value: str(value))
@pytest.mark.parametrize("name", METHODS)
def test_teachers_and_students_run_under_autocast(name, autocast, form):
    precision = {"precision": Precision(autocast=autocast)}
    with gpu_step.running(case_of(name), SIZES, form=form, backward=False, **precision) as run:
        given, wanted = gpu_step.batch(SIZES), run.state.distiller.teacher_features
        for _ in range(2):  # the first step makes what all of them use
            with Trace() as trace:
                outputs = teacher_outputs(run.teachers, wanted, given.images, run.context)
                with run.context():
                    step = run.model(given, outputs, 100.0)
        assert not trace.waits
        assert {term.dtype for term in step.terms.values()} <= {torch.float32, torch.float64}


def casts(form, autocast):
    """How often a ResNet-56's pass casts a tensor, after the first pass."""
    case = every_method.Case(METHODS["KD"], "resnet8", ("resnet56",))
    precision = {"precision": Precision(autocast=autocast)}
    with gpu_step.running(case, SIZES, form=form, backward=False, **precision) as run:
        images = gpu_step.batch(SIZES).images
        for _ in range(2):
            with Trace() as trace:
                teacher_outputs(run.teachers, ((),), images, run.context)
    return trace.operations["aten._to_copy.default"]


@pytest.mark.parametrize(
    ("form", "autocast", "most"), [(TeacherPrecision(), "bfloat16", 1), (TeacherPrecision("bfloat16"), "float32", 2)]
)
def test_teacher_weights_are_not_cast_in_every_step(form, autocast, most):
    """The images are, and where the form is the teacher's own its logits."""
    assert casts(form, autocast) <= most


class Written(list):
    """Replaces the writing thread, as fake tensors have no values to write."""

    def put(self, *given):
        self.append(to_host(given[2]))

    def after(self, call):
        call()


class Nothing:
    """Replaces cache files: empty, and claimed by no process."""

    def read(self, addresses):
        return None

    def take(self, addresses):
        return False


@pytest.mark.parametrize("name", ["KD", "CAMKD", "OFD"])
def test_a_step_that_writes_a_cache_never_synchronises(name):
    with gpu_step.running(case_of(name), SIZES) as run:
        written = Written()
        features = run.state.distiller.teacher_features or [()] * len(run.teachers)
        run.teachers = [with_cache(t, names, written) for t, names in zip(run.teachers, features, strict=True)]
        run.reads_cache, run.data.addresses = True, lambda start, stop: np.zeros((1, SIZES.batch), np.int64)
        assert not gpu_step.traced_update(run, SIZES).waits
        assert written and all(is_pinned(fetched.tensor) for fetched in written)


def with_cache(taught, features, written):
    shapes = {"logits": (SIZES.classes,)} | {name: taught.network.shapes[name] for name in features}
    tensors = {name: TensorCache(name, Full(shape, "float16"), Nothing()) for name, shape in shapes.items()}
    return replace(taught, cache=TeacherCache(tensors, written, Nothing()))


class Faults:
    """Faults that the simulated GPU must detect, one each."""

    @staticmethod
    def pageable_copy():
        torch.ones(3).to(CUDA, non_blocking=True)

    @staticmethod
    def blocking_copy():
        torch.empty(3, device=CUDA).to("cpu")

    @staticmethod
    def reading():
        torch.empty((), device=CUDA).item()

    @staticmethod
    def mask():
        values = torch.empty(3, device=CUDA)
        values[values > 0]


@pytest.mark.parametrize("fault", [f for f in vars(Faults) if not f.startswith("_")])
def test_the_simulated_gpu_detects_synchronisation(fault):
    with simulated_gpu(), Trace() as trace:
        try:
            getattr(Faults, fault)()
        except Exception as error:  # noqa: BLE001  there is no number to go on with
            assert "DataDependent" in type(error).__name__ or "Dynamic" in type(error).__name__
    assert len(trace.waits) == 1


def test_the_simulated_gpu_rejects_tensors_of_two_devices():
    with simulated_gpu(), pytest.raises(RuntimeError, match="device"):
        torch.empty(3, device=CUDA) + torch.empty(3)


def test_the_simulated_gpu_rejects_optimizer_state_on_another_device():
    with simulated_gpu():
        weight = torch.nn.Parameter(torch.empty(3, device=CUDA))
        optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=True)
        optimizer.state[weight]["momentum_buffer"] = torch.empty(3)
        weight.grad = torch.empty(3, device=CUDA)
        with pytest.raises(DeviceMismatch):
            optimizer.step()


def test_the_simulated_gpu_leaves_torch_unchanged():
    before = copy.copy(torch.empty), torch.nn.Module.to, torch.Tensor._make_subclass
    with simulated_gpu():
        pass
    assert (torch.empty, torch.nn.Module.to, torch.Tensor._make_subclass) == before
