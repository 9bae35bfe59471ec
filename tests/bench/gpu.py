"""Group gpu: whole steps on a GPU, raykd's loop against the original's: time, images/s, MFU, memory, idle share.

KD, OKDDip and AEKD at CIFAR's size, KD from ResNet-101 to ResNet-50 at ImageNet's, FunMatch with a BiT teacher;
float32 with TF32 on both sides, from the same weights. No rows without a GPU. MFU (model FLOPs utilisation): operations
of the forward passes as counted by torch, times three for networks that are trained, divided by the time and the GPU's
peak. idle: the share of one profiled step in which the GPU runs no kernel.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from raykd.methods.funmatch import FunMatch
from raykd.methods.kd import KD
from raykd.recipe import AdamW, Precision
from raykd.training.process import use_device
from tests.bench import originals, step
from tests.bench.timing import in_turns, ratio

PEAK = {"H100": 495e12, "H200": 495e12, "A100": 156e12, "L4": 60e12, "4090": 83e12, "V100": 15.7e12, "T4": 8.1e12}
"""Dense operations a second in TF32 (in float32 where there is none), from NVIDIA's data sheets."""

BIT = "timm:resnetv2_152x2_bit"
CASES = {
    "KD, CIFAR": step.Case(KD.Config(), "resnet20", ("resnet56",), 128, originals.KD, step._student),
    "OKDDip, CIFAR": step.CASES["okddip"],
    "AEKD, CIFAR": step.CASES["aekd"],
    "KD, ImageNet": step.Case(
        KD.Config(), "torchvision:resnet50", ("torchvision:resnet101",), 128, originals.KD, step._student
    ),
    "FunMatch, BiT": step.Case(
        FunMatch.Config(), "timm:resnetv2_50x1_bit", (BIT,), 64, originals.FunMatch, step._student, AdamW()
    ),
}


def rows(repetitions: int = 20) -> Iterator[dict]:
    if not torch.cuda.is_available():
        print("group gpu: PyTorch finds no GPU")
        return
    use_device(step.DEVICE, Precision(), 1.0)
    for name, case in CASES.items():
        classes, size = (1000, 224) if ":" in case.student else (step.CLASSES, step.SIZE)
        yield {"method": name, **_row(case, classes, size, repetitions)}


def _row(case: step.Case, classes: int, size: int, repetitions: int) -> dict:
    theirs = step.original(case, *_parts(case, classes, size))
    ours = step.ours(case, *_parts(case, classes, size))
    timed = in_turns({"original": theirs, "raykd": ours}, repetitions)
    seconds = timed["raykd"].milliseconds / 1e3
    torch.cuda.reset_peak_memory_stats()
    ours()
    return {
        "networks": step._networks(case),
        "gpu": torch.cuda.get_device_name(),
        "original ms": timed["original"].milliseconds,
        "raykd ms": timed["raykd"].milliseconds,
        "images/s": case.batch / seconds,
        "MFU": flops(case, classes, size) / seconds / peak(),
        "GB": torch.cuda.max_memory_allocated() / 1e9,
        "idle": idle(ours),
        **ratio(timed["original"], timed["raykd"]),
    }


def _parts(case: step.Case, classes: int, size: int) -> tuple:
    """Distiller, teachers, images and labels, in the order in which both sides use them."""
    teachers, distiller, images, labels = step.prepared(case, classes, size)
    return distiller, teachers, images, labels


def peak() -> float:
    """Of this GPU; NaN where its name is not in the table."""
    found = [value for name, value in PEAK.items() if name in torch.cuda.get_device_name()]
    return found[0] if found else float("nan")


def flops(case: step.Case, classes: int, size: int) -> float:
    """Of one step: a forward pass of each teacher, and three times the students' own."""
    small = replace(case, batch=2)
    teachers, distiller, images, _ = step.prepared(small, classes, size)
    found = []
    for networks in (teachers, [distiller.predict]):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            for network in networks:
                network(images)
        found.append(counter.get_total_flops())
    return (found[0] + 3 * found[1]) * case.batch / small.batch


def idle(call) -> float:
    """The share of one call's time in which the GPU runs nothing."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        call()
        torch.cuda.synchronize()
    spans = sorted((e.time_range.start, e.time_range.end) for e in seen.events() if e.device_type.name == "CUDA")
    busy, end = 0.0, spans[0][0]
    for start, stop in spans:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return 1 - busy / (end - spans[0][0])


__all__ = ["CASES", "flops", "idle", "peak", "rows"]
