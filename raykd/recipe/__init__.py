"""A recipe names one experiment: data, networks, teachers, method, schedule. Frozen dataclasses, nothing that runs."""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from raykd import UserError
from raykd.data.config import Data, Deviation
from raykd.fields import (
    Count,
    Fraction,
    Gt,
    Interval,
    MaxLen,
    MinLen,
    NonNegative,
    NonNegativeInt,
    Pixels,
    Positive,
    PositiveInt,
    Probability,
    Rule,
    Seed,
    ascending,
    no_effect,
)
from raykd.method import MethodConfig
from raykd.metric import DISTINCT, Metric
from raykd.models.config import Network

if TYPE_CHECKING:
    import torch

Rate = Annotated[float, Gt(0), Rule("at most 1,000, as training diverges beyond", lambda rate: rate <= 1000)]
Decay = Annotated[float, Interval(ge=0, le=1000)]
Workers = Annotated[int, Interval(ge=0, le=65_536)]
CPUs = Annotated[int, Interval(ge=1, le=65_536)]
is_project = re.compile(r"[^/\\#?%:\x00-\x1f]{1,128}").fullmatch
STEPS, MINUTES = r"(?P<steps>[1-9]\d{0,8}) steps?", r"(?P<minutes>(?!0+(\.0*)? )\d{1,6}(\.\d{0,6})?) minutes?"
EVERY = re.compile(f"never|{STEPS}|{MINUTES}", re.ASCII)
Label = Annotated[str, Rule("of the form KEY=VALUE", lambda text: text.count("=") == 1 and all(text.split("=")))]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Settings that all optimizers share; a recipe names one of `SGD`, `AdamW`, `Shampoo`, or one of your own: a
    subclass beside the recipe that has `build`."""

    learning_rate: Rate = 0.1
    """Peak learning rate."""
    weight_decay: Decay = 5e-4
    """Weight decay."""
    decay_vectors: bool = True
    """Decay one-dimensional parameters (norms, biases) as well, as the CIFAR papers do."""
    clip_norm: NonNegative = 0.0
    """Clip the gradient's norm to this; 0: never."""
    clip_each: bool = False
    """Clip each parameter's own gradient, as Keras's clipnorm does, instead of all of them together."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        """The optimizer of groups of parameters, each with its "params" and "weight_decay".

        Its groups' "lr" is set before each step. Its state is tensors and plain values, as checkpoints hold no others.
        """
        raise UserError(f"optimizer: {type(self).__name__} is none: take SGD, AdamW, Shampoo, or write a `build`")

    @property
    def group_decay(self) -> float:
        """The groups' "weight_decay"."""
        return self.weight_decay


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as in torch."""

    momentum: Fraction = 0.9
    """Momentum."""
    nesterov: bool = True
    """Nesterov's momentum."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        from raykd.optimizers.fused import sgd

        return sgd(groups, self.learning_rate, self.momentum, self.nesterov)


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019)."""

    learning_rate: Rate = 1e-3
    """Peak learning rate."""
    weight_decay: Decay = 1e-4
    """Weight decay."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Decay of the gradient's running mean and square."""
    decay: Literal["times-rate", "schedule-only", "constant"] = "times-rate"
    """times-rate: a step decays by rate × decay (torch); schedule-only: by (rate / peak rate) × decay (FunMatch);
    constant: by decay itself, whatever the rate (TensorFlow Addons)."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        from raykd.optimizers.fused import adamw

        return adamw(groups, self.learning_rate, self.betas, self.decay == "constant")

    @property
    def group_decay(self) -> float:
        """FunMatch's code decays by schedule × decay: torch's decay over the peak rate."""
        return self.weight_decay / self.learning_rate if self.decay == "schedule-only" else self.weight_decay


@dataclass(frozen=True, kw_only=True)
class Shampoo(Optimizer):
    """Shampoo (Gupta, Koren, Singer, ICML 2018) of pytorch-optimizer, which `raykd[shampoo]` installs."""

    learning_rate: Rate = 1e-3
    """Peak learning rate."""
    weight_decay: Decay = 1e-4
    """Decoupled weight decay."""
    momentum: Fraction = 0.9
    """Momentum."""
    preconditioning_every: PositiveInt = 10
    """Steps between two updates of the preconditioner."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        from raykd.optimizers.shampoo import shampoo

        return shampoo(groups, self.learning_rate, self.momentum, self.preconditioning_every)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate over time; this class itself: constant after the warm-up. One of your own is a subclass beside
    the recipe that has `share_of_peak`."""

    warmup_steps: NonNegativeInt = 0
    """Steps of linear warm-up from 0."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        """What the peak rate is multiplied by at update `step` (from 0) of `total`, past the warm-up.

        epoch: passes over the training split until then.
        """
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from the peak to `final`, per step."""

    final: Probability = 0.0
    """Last learning rate, as a share of the peak."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        passed = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))


@dataclass(frozen=True, kw_only=True)
class Steps(Schedule):
    """The learning rate times `factor` at each milestone."""

    milestones: Annotated[tuple[NonNegative, ...], ascending] = ()
    """Epochs at which the rate drops."""
    factor: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """What it drops by."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        return float(self.factor ** sum(epoch >= milestone for milestone in self.milestones))


@dataclass(frozen=True, kw_only=True)
class Piecewise(Schedule):
    """A share of the peak of its own from each milestone on."""

    shares: Annotated[tuple[tuple[NonNegative, Probability], ...], ascending] = ()
    """Pairs of an epoch and the share of the peak rate from it on; before the first the peak itself."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        return ([1.0] + [share for start, share in self.shares if epoch >= start])[-1]


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Where teachers come from; one of `Run`, `Train`, `Pretrained`."""


@dataclass(frozen=True, kw_only=True)
class Run(Teacher):
    """A finished raykd run."""

    path: str
    """Its run directory."""


@dataclass(frozen=True, kw_only=True)
class Train(Teacher):
    """A recipe to train first; one teacher for each seed. A present one is found by the recipe's content."""

    recipe: "Recipe"
    """What the teacher is trained by."""
    seeds: Annotated[tuple[Seed, ...], MinLen(1)] = (0,)
    """Seeds, a teacher each."""


@dataclass(frozen=True, kw_only=True)
class Pretrained(Teacher):
    """A network with its library's weights or with a weights file."""

    network: Network
    """The network, with `weights`."""
    mean: tuple[Probability, Probability, Probability] | None = None
    """Per-channel mean that the network was trained with; None: as its library or its file says."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """Per-channel standard deviation that the network was trained with; None: as its library or its file says."""
    image_size: Pixels = 0
    """Side of the images that the network gets; 0: as its library or its file says, else the data's."""
    classes: tuple[str, ...] = ()
    """Its classes by name, in the order of its logits; empty: as its library or its file says, else the data's."""


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Frozen teachers, and how their outputs are computed and stored."""

    sources: tuple[Teacher, ...] = ()
    """Teachers, in order."""
    classes: tuple[tuple[str, str], ...] = ()
    """Pairs of a class of the data and what the teachers call it, where the names differ. A class of the data in
    several pairs is all of the classes that they name, whose probabilities are added."""
    max_parallel: NonNegativeInt = no_effect(0)
    """Teachers trained at once; 0: as many as the cluster has room for."""
    form: Literal["recipe", "bfloat16", "float16", "auto"] = "recipe"
    """What the teachers' passes are computed in. recipe: the recipe's own precision, by default, as only with it the
    same result for any number of workers is tested; auto: the fastest form, by measuring, that changes the student's
    first losses by less than 1e-3, so that two runs may differ in the last digits; a run that goes on keeps its
    choice."""
    capture: bool = no_effect(True)
    """On GPUs, replay a frozen teacher's passes from a CUDA graph: a single launch of the same kernels. Off: they are
    launched one by one."""
    cache: Literal["none", "float32", "float16", "top-k"] = "none"
    """Keep what the teachers give for every training image below `data.root`, in this type: their logits, and the
    features that the method reads. Later runs on the same data with the same seed (and, where images are mixed, the
    same batch size) read it and run no teacher. top-k: the `top_k` largest logits in float16, and the others' total
    probability, which is spread evenly over them: at temperature 1 the kept classes' probabilities are exact."""
    top_k: Annotated[int, Interval(ge=0, le=65_536)] = 0
    """Logits that a cache of top-k keeps of each image."""
    cache_compression: bool = no_effect(False)
    """Compress cached feature maps, without loss, by Zstandard: less room on the disk, more work for the CPUs."""
    cache_gb: NonNegative = no_effect(0.0)
    """Gigabytes that all caches below `data.root` may take together; 0: what the disk has room for."""
    placement: Literal["inline", "remote"] = no_effect("inline")
    """inline: in each worker, before its student's step; remote: in Ray actors on CPUs or GPUs of their own, which are
    ahead of the student. The result is the same."""
    actors: Count = no_effect(1)
    """Remote: actors of each worker, which take its steps in turn."""
    cpus_per_actor: CPUs = no_effect(1)
    """Remote: CPUs of each actor. As many as a worker's, on the same type of device, give the very bits of inline."""
    gpus_per_actor: Probability = no_effect(0.0)
    """Remote: GPUs of each actor, 1 at most; a part, such as 0.5, where several share one."""
    ahead: Count = no_effect(2)
    """Remote: steps that each actor may be ahead of the student; their outputs are held in memory."""


@dataclass(frozen=True, kw_only=True)
class Initialise:
    """A phase before the training, of methods that have one: their own terms, an optimizer and a schedule of its own.

    Metric lines count its epochs up to 0, where the training begins; they hold no evaluation.
    """

    epochs: NonNegative = 0.0
    """Passes over the training split; 0: no such phase."""
    optimizer: Optimizer = SGD()
    """The optimizer."""
    schedule: Schedule = Schedule()
    """The learning rate over time; by default it stays the same."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Number types, memory layout and compilation."""

    autocast: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the forward passes; parameters, losses and updates stay float32."""
    channels_last: bool = True
    """Memory layout NHWC, which convolutions run faster in."""
    compile: bool = False
    """torch.compile the distiller."""
    tf32: bool = True
    """On GPUs, multiply float32 numbers in TF32 (10 bits of the mantissa), several times as fast; off: in float32."""
    deterministic: bool = False
    """On GPUs, compute the same bits again, so that a run that goes on ends as one that was never interrupted: with as
    many workers on GPUs of the same type. It costs time: cuDNN's and cuBLAS's fastest kernels, and fused ones of
    teachers, are left out. Without it a run that goes on has the same batches and random numbers, rounded otherwise."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When checkpoints are written, and how many are kept."""

    every: Annotated[str, Rule('like "500 steps", "10 minutes" or "never"', lambda text: EVERY.fullmatch(text))] = (
        "10 minutes"
    )
    """Between two checkpoints within an evaluation interval, e.g. "500 steps" or "10 minutes"; "never": none."""
    keep: PositiveInt = 2
    """Newest checkpoints kept; the best by top-1 is kept besides."""

    @property
    def interval(self) -> tuple[int, float]:
        """Steps and seconds between two checkpoints; 0 where they are not counted so."""
        match = EVERY.fullmatch(self.every)
        assert match is not None  # the field's rule
        return int(match["steps"] or 0), 60.0 * float(match["minutes"] or 0)


@dataclass(frozen=True, kw_only=True)
class WandB:
    """Where a run is logged at Weights & Biases."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """auto: online where there is a key and the server answers, else offline."""
    project: Annotated[str, Rule("of 1 to 128 characters without / \\ # ? % :", is_project)] = "raykd"
    """Project."""
    entity: Annotated[str, MaxLen(128), Rule("without /", lambda text: "/" not in text)] = ""
    """Entity; empty: the key's default."""
    group: Annotated[str, MaxLen(128)] = ""
    """Group; empty: none."""
    tags: tuple[Annotated[str, MinLen(1), MaxLen(64)], ...] = ()
    """Tags besides method, data set, student and seed."""


@dataclass(frozen=True, kw_only=True)
class Debug:
    """Files for finding the cause of a failed run."""

    nan_dump: str = ""
    """Folder for a file that reproduces the step at which a loss is not finite; empty: none."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A figure quoted as published."""

    metric: str
    """What was measured, as in `result.json`: top1, top5."""
    value: float
    """The figure, a fraction from 0 to 1."""
    source: str
    """Who published it, and where."""


@dataclass(frozen=True, kw_only=True)
class Simplex:
    """Weights ≥ 0 that sum to `total`, every such set equally likely; its key names the fields, joined by commas."""

    total: Positive = 1.0
    """What the weights sum to."""


@dataclass(frozen=True, kw_only=True)
class When:
    """A space that counts only in the trials in which another searched field has one of some values."""

    field: str
    """Dotted name of the other field."""
    one_of: tuple[Any, ...]
    """Its values in those trials."""
    space: Any
    """A `ray.tune` search space."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search over the recipe's fields by Ray Tune."""

    space: dict[str, Any]
    """Dotted field name to a `ray.tune` search space, a `When`, or (names joined by commas) a `Simplex`."""
    samples: PositiveInt = 16
    """Trials; with grids besides, times their points; of grids alone, every point is one trial, whatever this says."""
    repeats: Count = 1
    """Runs of every pick, a trial each, with the seeds from the recipe's own on; picks are compared by their mean."""
    metric: str = "top1"
    """What is compared, of the deployed network on the held-out part of the training split: top1, top5, loss, ece, or
    one of the recipe's own metrics."""
    mode: Literal["max", "min"] = "max"
    """Whether more or less of it is better."""
    validation: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """Share of the training split that the metric is measured on; a recipe's own `data.validation` goes before it."""
    scheduler: Any = None
    """A `ray.tune` scheduler without metric and mode; None: every trial runs to its end."""
    searcher: Any = None
    """A `ray.tune` searcher without metric, mode and space; None: random and grid."""
    max_concurrent: NonNegativeInt = 0
    """Trials at once; 0: as many as the cluster has room for."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One experiment: a student, its data, the method and its teachers, and the training."""

    method: MethodConfig
    """The distillation method and its settings."""
    student: Network
    """The network that is trained and deployed."""
    data: Data
    """The data set, its augmentation and its reading."""
    epochs: Annotated[float, Interval(gt=0, le=1_000_000)]
    """Passes over the training split."""
    batch_size: PositiveInt
    """Images of one update, over all workers."""
    optimizer: Optimizer = SGD()
    """The optimizer."""
    schedule: Schedule = Cosine()
    """The learning rate over time."""
    initialise: Initialise = Initialise()
    """What comes before the training, for methods with two phases."""
    teachers: Teachers = Teachers()
    """Frozen teachers."""
    seed: Seed = 0
    """Seed of initialisation, order and augmentation."""
    accumulate: PositiveInt = 1
    """Parts that a worker's share of a batch is computed in, to save memory."""
    ema: Fraction = 0.0
    """Decay of an exponential moving average of the weights, which is then evaluated and deployed; 0: none."""
    sync_batchnorm: bool = False
    """Batch statistics over all workers."""
    precision: Precision = Precision()
    """Numbers, layout and compilation."""
    metrics: tyro.conf.Suppress[Annotated[tuple[Metric, ...], DISTINCT]] = no_effect(())
    """Metrics of one's own, which every evaluation has besides top1, top5, loss and ece."""
    evaluate_every: PositiveInt = 1
    """Epochs between two evaluations, metric lines and checkpoints."""
    patience: NonNegativeInt = 0
    """Evaluations without a better top-1 of the deployed network after which the run ends; 0: never. On a part held out
    of the training split (`data.validation`), never on the test split."""
    log_every: PositiveInt = no_effect(20)
    """Steps between two logged lines of loss terms and notes."""
    workers: Workers | tuple[Workers, Workers] = no_effect(1)
    """Ray Train workers, or the least and the most of an elastic run; 0: this process, without Ray."""
    cpus_per_worker: CPUs = no_effect(1)
    """CPUs of each worker."""
    gpus_per_worker: Probability = no_effect(0)
    """GPUs of each worker: 0, 1, or of a run with one worker a part such as 0.25, where four runs share a GPU; each may
    use that part of its memory."""
    accelerator_type: str = no_effect("")
    """Ray's name of the GPU that workers need, e.g. A100; empty: any."""
    node_labels: tuple[Label, ...] = no_effect(())
    """Ray labels of the nodes that workers need, each KEY=VALUE, e.g. ray.io/market-type=on-demand."""
    max_failures: Annotated[int, Interval(ge=-1, lt=2**31)] = no_effect(3)
    """Losses of workers or nodes, with no newer checkpoint between them, after which the run is given up; -1: never.
    Announced ones (SIGTERM, a drained node) don't count. A trial of Tune counts every loss."""
    collective_timeout: Annotated[int, Interval(ge=1, le=1_000_000)] = no_effect(900)
    """Seconds that workers wait for one of them that is stuck before all start again from the last checkpoint."""
    checkpoint: Checkpoint = no_effect(Checkpoint())
    """When checkpoints are written and which are kept."""
    wandb: WandB = no_effect(WandB())
    """Weights & Biases."""
    debug: Debug = no_effect(Debug())
    """What to leave behind when training goes wrong."""
    search: tyro.conf.Suppress[Search | None] = no_effect(None)
    """What `raykd tune` searches."""
    published: tyro.conf.Suppress[tuple[Published, ...]] = no_effect(())
    """Figures of the same experiment, quoted as published."""
