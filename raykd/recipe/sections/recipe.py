"""The recipe itself, its initialise phase and number types, and a teacher that is trained by a recipe."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from raykd.data.config import Data
from raykd.fields import (
    Fraction,
    Interval,
    MinLen,
    NonNegative,
    NonNegativeInt,
    PositiveInt,
    Probability,
    Rule,
    Seed,
    no_effect,
)
from raykd.method import MethodConfig
from raykd.metric import DISTINCT, Metric
from raykd.models.config import Network
from raykd.recipe.sections.optimizer import SGD, Cosine, Optimizer, Schedule
from raykd.recipe.sections.output import Checkpoint, Debug, WandB
from raykd.recipe.sections.search import Search
from raykd.recipe.sections.teachers import CPUs, Teacher, Teachers

Workers = Annotated[int, Interval(ge=0, le=65_536)]
Label = Annotated[str, Rule("of the form KEY=VALUE", lambda text: text.count("=") == 1 and all(text.split("=")))]


@dataclass(frozen=True, kw_only=True)
class Initialise:
    """A phase before the training, for methods with two phases, with its own loss terms, optimizer and schedule.

    In metrics.jsonl its epochs are negative, since the training begins at 0; it has no evaluations.
    """

    epochs: NonNegative = 0.0
    """Passes over the training split in this phase, may be fractional; 0: no such phase."""
    optimizer: Optimizer = SGD()
    """The optimizer."""
    schedule: Schedule = Schedule()
    """The learning rate over time; constant by default."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Number types, memory layout and compilation."""

    autocast: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the forward passes; parameters, losses and updates stay in float32."""
    channels_last: bool = True
    """Memory layout NHWC, in which convolutions are faster."""
    compile: bool = False
    """Compile the distiller with torch.compile."""
    tf32: bool = True
    """On GPUs, multiply float32 numbers in TF32 (10-bit mantissa), which is several times faster; off: in float32."""
    deterministic: bool = False
    """On GPUs, use deterministic kernels, so that a resumed run ends bit for bit like an uninterrupted one, with the
    same number of workers and type of GPU. It is slower, as the fastest kernels of cuDNN and cuBLAS, and fused ones of
    teachers, are not used. Without it a resumed run has the same batches and random numbers, but other rounding."""


@dataclass(frozen=True, kw_only=True)
class Train(Teacher):
    """Teachers that are trained first by a recipe, one for each seed.

    Teachers that were trained before are found by the recipe's fingerprint and not trained again.
    """

    recipe: "Recipe"
    """The teacher's recipe."""
    seeds: Annotated[tuple[Seed, ...], MinLen(1)] = (0,)
    """Seeds; one teacher for each."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published figure of the same experiment, which reports quote."""

    metric: str
    """The metric, as in `result.json`: top1 or top5."""
    value: float
    """The figure, a fraction from 0 to 1."""
    source: str
    """Where it was published: paper, year, table."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One experiment: the student, the data, the method with its teachers, and the training."""

    method: MethodConfig
    """The distillation method and its settings."""
    student: Network
    """The network that is trained and deployed."""
    data: Data
    """The data set, its augmentation and how it is loaded."""
    epochs: Annotated[float, Interval(gt=0, le=1_000_000)]
    """Passes over the training split; may be fractional."""
    batch_size: PositiveInt
    """Images per update, over all workers."""
    optimizer: Optimizer = SGD()
    """The optimizer."""
    schedule: Schedule = Cosine()
    """The learning rate over time."""
    initialise: Initialise = Initialise()
    """The initialise phase, for methods with two phases."""
    teachers: Teachers = Teachers()
    """Frozen teachers."""
    seed: Seed = 0
    """Seed of initialisation, order and augmentation."""
    accumulate: PositiveInt = 1
    """Number of parts into which a worker splits its share of a batch; gradients are accumulated, to save memory.
    Methods that compare the images of a batch, such as RKD, then compare those of a part only."""
    ema: Fraction = 0.0
    """Decay per update of an exponential moving average of the weights, which is then evaluated and deployed; 0:
    none."""
    sync_batchnorm: bool = False
    """Compute BatchNorm's statistics over all workers instead of each worker's share of the batch; on GPUs only."""
    precision: Precision = Precision()
    """Number types, memory layout and compilation."""
    metrics: tyro.conf.Suppress[Annotated[tuple[Metric, ...], DISTINCT]] = no_effect(())
    """User-defined metrics, in addition to top1, top5, loss and ece."""
    evaluate_every: PositiveInt = 1
    """Epochs between two evaluations, each with a line in metrics.jsonl and a checkpoint."""
    patience: NonNegativeInt = 0
    """Number of evaluations without a better top-1 of the deployed network after which the run ends; 0: never. It needs
    a held-out part of the training split (`data.validation`); the test split is never used."""
    log_every: PositiveInt = no_effect(20)
    """Steps (updates) between two logged lines of loss terms and notes."""
    workers: Workers | tuple[Workers, Workers] = no_effect(1)
    """Number of Ray Train workers, or minimum and maximum of an elastic run; 0: train in this process, without Ray."""
    cpus_per_worker: CPUs = no_effect(1)
    """CPUs of each worker."""
    gpus_per_worker: Probability = no_effect(0)
    """GPUs of each worker: 0, 1, or, in a run with one worker, a fraction such as 0.25, so that four runs share a GPU;
    each may use that fraction of its memory."""
    accelerator_type: str = no_effect("")
    """Ray's name of the required GPU type, e.g. A100; empty: any."""
    node_labels: tuple[Label, ...] = no_effect(())
    """Ray labels that a worker's node must have, each KEY=VALUE, e.g. ray.io/market-type=on-demand."""
    max_failures: Annotated[int, Interval(ge=-1, lt=2**31)] = no_effect(3)
    """Maximum number of lost workers or nodes without a new checkpoint in between; -1: unlimited. Announced losses
    (SIGTERM, a drained node) don't count. In trials of Tune every loss counts."""
    collective_timeout: Annotated[int, Interval(ge=1, le=1_000_000)] = no_effect(900)
    """Seconds that workers wait for a stuck worker before all restart from the last checkpoint."""
    checkpoint: Checkpoint = no_effect(Checkpoint())
    """When checkpoints are written, and how many are kept."""
    wandb: WandB = no_effect(WandB())
    """Logging to Weights & Biases."""
    debug: Debug = no_effect(Debug())
    """Files for debugging failed runs."""
    search: tyro.conf.Suppress[Search | None] = no_effect(None)
    """The search of `raykd tune`."""
    published: tyro.conf.Suppress[tuple[Published, ...]] = no_effect(())
    """Published figures of the same experiment."""
