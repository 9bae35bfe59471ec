"""torch.compile of every method's distiller: compiled once or twice per run, not again in every epoch."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.utils import counters

from raykd.contract import Batch
from raykd.methods.supervised import Supervised
from raykd.models import create
from raykd.recipe import Precision
from raykd.recipes.digits.supervised import recipe as digits
from raykd.training.update.step import wrap
from tests.support import every_method
from tests.support.tiny_methods import CLASSES, SIZE, tiny

MOST_GRAPHS = 3  # the first epoch's, one that takes the epoch as a variable, one for another branch of a schedule


def network(name):
    """Of four stages, so that compiling it takes no time."""
    return tiny(width={"student": 8, "teacher": 6}[name])


def graphs_of(distiller, teachers, epochs, backend):
    """The number of compiled graphs (forward and backward) after steps at these epochs."""
    torch._dynamo.reset()
    counters.clear()
    module = torch.compile(distiller.train(), backend=backend)
    batch = Batch(torch.randn(2, 3, SIZE, SIZE), torch.arange(2) % CLASSES, torch.arange(2))
    wanted = distiller.teacher_features or [()] * len(teachers)
    with torch.no_grad():
        outputs = [teacher.output(batch.images, names) for teacher, names in zip(teachers, wanted)]
    for epoch in epochs:
        step = module(batch, outputs, epoch)
        torch.stack(list(step.terms.values())).sum().backward()
    return counters["frames"]["ok"]


def build(name):
    """A method's distiller of tiny networks, and its teachers."""
    case = every_method.case_of(every_method.configs()[name], network, ("student",), "teacher")
    teachers = [network(teacher).eval().requires_grad_(False) for teacher in case.teachers]
    return case.build(network, teachers), teachers


# The second one also traces autograd, which treats a schedule's numbers differently, and takes seconds per method.
BACKENDS = ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", every_method.configs())
def test_a_method_is_recompiled_only_a_few_times_in_forty_epochs(name, backend):
    epochs = [0.0, 0.31, 0.7, 1.3, 5.0, 12.7, 21.2, 33.3, 40.0]
    assert graphs_of(*build(name), epochs, backend) <= MOST_GRAPHS


def test_logging_a_schedule_does_not_recompile():
    """The only number of a schedule that autograd's tracing would take for a constant is one that fills a tensor."""
    assert graphs_of(*build("DKD"), [0.0, 1.3, 5.0, 12.7], "aot_eager") <= 2


def test_a_compiled_distiller_in_ddp_is_split_at_its_buckets(tmp_path, monkeypatch):
    """Into more than one piece, without a break: so gradients are exchanged while the backward pass goes on."""
    pieces, usual = [], torch.compile

    def backend(graph, inputs):
        pieces.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda module: usual(module, backend=backend))
    torch._dynamo.reset()
    counters.clear()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        recipe = replace(digits, precision=Precision(compile=True))
        distiller = Supervised.Config().build(lambda: create("resnet8x4", CLASSES, 32), [])  # of more than one bucket
        model = wrap(recipe, distiller, torch.device("cpu"))
        batch = Batch(torch.randn(2, 3, 32, 32), torch.arange(2), torch.arange(2))
        for _ in range(3):
            model(batch, [], 0.0).terms["ce"].backward()
    finally:
        torch.distributed.destroy_process_group()
    assert len(pieces) > 1 and not counters["graph_break"]
