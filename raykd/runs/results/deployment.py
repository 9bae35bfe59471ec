"""deployment.json: the inference cost of a run's student and teachers, as measured by `raykd export --measure`."""

import math
from typing import Annotated

from annotated_types import Ge, MinLen

from raykd.runs.results.models import Count, Model, Seconds, Text
from raykd.runs.results.read import read_checked
from raykd.storage.folder import Folder

FILE = "deployment.json"


class Latency(Model):
    """Median seconds of one pass, for a batch size and a number of threads."""

    batch: Annotated[int, Ge(1)]
    threads: Annotated[int, Ge(1)]
    seconds: Seconds


class NetworkCost(Model):
    """The cost of one network; the first of a deployment is the student."""

    name: Text
    top1: float  # nan if not measured
    parameters: Count
    flops: Count  # multiply-adds of one image
    file_bytes: Count  # as ONNX in float32
    memory_bytes: Count  # more than onnxruntime alone takes, at the largest batch with all threads
    latencies: Annotated[list[Latency], MinLen(1)]

    def latency(self, batch: int, threads: int) -> float:
        """Seconds; nan if not measured."""
        return {(each.batch, each.threads): each.seconds for each in self.latencies}.get((batch, threads), math.nan)

    @property
    def images_per_second(self) -> float:
        """The best measured throughput."""
        return max(each.batch / each.seconds for each in self.latencies if each.seconds)


class Deployment(Model):
    """The content of deployment.json."""

    machine: Text
    threads: Annotated[int, Ge(1)]  # all that there are
    networks: Annotated[list[NetworkCost], MinLen(1)]


def read_deployment(run: Folder) -> Deployment | None:
    """deployment.json; None if nothing was measured."""
    return read_checked(run, FILE, Deployment) if run.exists(FILE) else None
