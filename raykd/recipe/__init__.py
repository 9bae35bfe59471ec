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
    """Momentum factor."""
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
    """Momentum factor."""
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
        """Factor of the peak rate at update `step` (from 0) of `total`, after the warm-up.

        epoch: passes over the training split so far.
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
    """Factor of each drop."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        return float(self.factor ** sum(epoch >= milestone for milestone in self.milestones))


@dataclass(frozen=True, kw_only=True)
class Piecewise(Schedule):
    """A given share of the peak from each milestone on."""

    shares: Annotated[tuple[tuple[NonNegative, Probability], ...], ascending] = ()
    """Pairs of an epoch and the share of the peak rate from then on; before the first: 1."""

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
    """A recipe to train first; one teacher for each seed. Existing teachers are found by the recipe's content."""

    recipe: "Recipe"
    """The teacher's recipe."""
    seeds: Annotated[tuple[Seed, ...], MinLen(1)] = (0,)
    """Seeds; one teacher for each."""


@dataclass(frozen=True, kw_only=True)
class Pretrained(Teacher):
    """A network with its library's weights or with a weights file."""

    network: Network
    """The network, with `weights`."""
    mean: tuple[Probability, Probability, Probability] | None = None
    """Per-channel mean that the network was trained with; None: from its library or its file."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """Per-channel standard deviation that the network was trained with; None: from its library or its file."""
    image_size: Pixels = 0
    """Side of the network's images in pixels; 0: from its library or its file, else the data's."""
    classes: tuple[str, ...] = ()
    """Names of its classes in the order of its logits; empty: from its library or its file, else the data's."""


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Frozen teachers, and how their outputs are computed and stored."""

    sources: tuple[Teacher, ...] = ()
    """Teachers, in order."""
    classes: tuple[tuple[str, str], ...] = ()
    """Pairs of a class of the data and the teachers' name for it, if they differ. For a class of the data in several
    pairs, the probabilities of the teachers' classes are added."""
    max_parallel: NonNegativeInt = no_effect(0)
    """Maximum number of teachers trained at once; 0: as many as fit on the cluster."""
    form: Literal["recipe", "bfloat16", "float16", "auto"] = "recipe"
    """Precision of the teachers' passes. recipe: the recipe's own, for which results are tested to be the same for any
    number of workers; auto: the fastest measured one that changes the student's first losses by less than 1e-3, so
    that two runs may differ slightly; a resumed run keeps its choice."""
    capture: bool = no_effect(True)
    """On GPUs, replay the frozen teachers' passes as CUDA graphs: a single launch of the same kernels. Off: kernels are
    launched one by one."""
    cache: Literal["none", "float32", "float16", "top-k"] = "none"
    """Cache the teachers' outputs for every training image below `data.root` in this type: logits, and the features
    that the method reads. Later runs on the same data with the same seed (and, if images are mixed, the same batch
    size) read the cache instead of running the teachers. top-k: the `top_k` largest logits in float16, and the total
    probability of the others, spread evenly over them: at temperature 1 the stored classes' probabilities are exact."""
    top_k: Annotated[int, Interval(ge=0, le=65_536)] = 0
    """Number of logits that a top-k cache stores for each image."""
    cache_compression: bool = no_effect(False)
    """Compress cached feature maps losslessly by Zstandard: less disk space, more CPU time."""
    cache_gb: NonNegative = no_effect(0.0)
    """Maximum total gigabytes of the caches below `data.root`; 0: all of the free disk space."""
    placement: Literal["inline", "remote"] = no_effect("inline")
    """inline: in each worker, before its student's step; remote: in Ray actors with their own CPUs or GPUs, ahead of
    the student. The result is the same."""
    actors: Count = no_effect(1)
    """Remote: actors of each worker, which compute its steps in turn."""
    cpus_per_actor: CPUs = no_effect(1)
    """Remote: CPUs of each actor. With as many as a worker, on the same type of device, results equal those of inline
    bit for bit."""
    gpus_per_actor: Probability = no_effect(0.0)
    """Remote: GPUs of each actor, at most 1; a fraction, such as 0.5, if several share one."""
    ahead: Count = no_effect(2)
    """Remote: maximum number of steps that each actor is ahead of the student; their outputs are held in memory."""


@dataclass(frozen=True, kw_only=True)
class Initialise:
    """A phase before the training, for methods that have one, with its own loss terms, optimizer and schedule.

    Its epochs are negative in metrics.jsonl, up to 0, where the training begins; it has no evaluations.
    """

    epochs: NonNegative = 0.0
    """Passes over the training split; 0: no such phase."""
    optimizer: Optimizer = SGD()
    """The optimizer."""
    schedule: Schedule = Schedule()
    """The learning rate over time; constant by default."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Number types, memory layout and compilation."""

    autocast: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the forward passes; parameters, losses and updates stay float32."""
    channels_last: bool = True
    """Memory layout NHWC, in which convolutions are faster."""
    compile: bool = False
    """torch.compile the distiller."""
    tf32: bool = True
    """On GPUs, multiply float32 numbers in TF32 (10-bit mantissa), several times faster; off: in float32."""
    deterministic: bool = False
    """On GPUs, use deterministic kernels, so that a resumed run ends bit for bit like an uninterrupted one, with the
    same number of workers and type of GPU. It is slower, as the fastest kernels of cuDNN and cuBLAS, and fused ones of
    teachers, are not used. Without it a resumed run has the same batches and random numbers, but other rounding."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When checkpoints are written, and how many are kept."""

    every: Annotated[str, Rule('like "500 steps", "10 minutes" or "never"', lambda text: EVERY.fullmatch(text))] = (
        "10 minutes"
    )
    """Between two checkpoints within an evaluation interval, e.g. "500 steps" or "10 minutes"; "never": none."""
    keep: PositiveInt = 2
    """Number of newest checkpoints to keep; the best by top-1 is kept in addition."""

    @property
    def interval(self) -> tuple[int, float]:
        """Steps and seconds between two checkpoints; 0 for the unit that is not used."""
        match = EVERY.fullmatch(self.every)
        assert match is not None  # the field's rule
        return int(match["steps"] or 0), 60.0 * float(match["minutes"] or 0)


@dataclass(frozen=True, kw_only=True)
class WandB:
    """Where a run is logged at Weights & Biases."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """auto: online if there is a key and the server answers, else offline."""
    project: Annotated[str, Rule("of 1 to 128 characters without / \\ # ? % :", is_project)] = "raykd"
    """Name of the project at W&B."""
    entity: Annotated[str, MaxLen(128), Rule("without /", lambda text: "/" not in text)] = ""
    """Entity; empty: the key's default."""
    group: Annotated[str, MaxLen(128)] = ""
    """Group; empty: none."""
    tags: tuple[Annotated[str, MinLen(1), MaxLen(64)], ...] = ()
    """Tags in addition to method, data set, student and seed."""


@dataclass(frozen=True, kw_only=True)
class Debug:
    """Files for finding the cause of a failed run."""

    nan_dump: str = ""
    """Folder for a file that reproduces the step at which a loss is not finite; empty: none."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published figure."""

    metric: str
    """The metric, as in `result.json`: top1, top5."""
    value: float
    """The figure, a fraction from 0 to 1."""
    source: str
    """Where it was published."""


@dataclass(frozen=True, kw_only=True)
class Simplex:
    """Weights ≥ 0 that sum to `total`, uniformly distributed; its key names the fields, joined by commas."""

    total: Positive = 1.0
    """Sum of the weights."""


@dataclass(frozen=True, kw_only=True)
class When:
    """A space that is used only in trials in which another searched field has one of some values."""

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
    """Number of trials; multiplied by the points of grids; if only grids are searched, each point is one trial."""
    repeats: Count = 1
    """Trials of every pick with consecutive seeds, from the recipe's own; picks are compared by their mean."""
    metric: str = "top1"
    """Metric of the deployed network on the held-out part of the training split: top1, top5, loss, ece, or one of the
    recipe's metrics."""
    mode: Literal["max", "min"] = "max"
    """Whether more or less of it is better."""
    validation: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """Share of the training split that is held out for the metric; a recipe's `data.validation` has precedence."""
    scheduler: Any = None
    """A `ray.tune` scheduler without metric and mode; None: every trial runs to its end."""
    searcher: Any = None
    """A `ray.tune` searcher without metric, mode and space; None: random and grid."""
    max_concurrent: NonNegativeInt = 0
    """Maximum number of concurrent trials; 0: as many as fit on the cluster."""


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
    """The initialise phase, for methods with two phases."""
    teachers: Teachers = Teachers()
    """Frozen teachers."""
    seed: Seed = 0
    """Seed of initialisation, order and augmentation."""
    accumulate: PositiveInt = 1
    """Number of parts in which a worker computes its share of a batch, to save memory."""
    ema: Fraction = 0.0
    """Decay of an exponential moving average of the weights, which is then evaluated and deployed; 0: none."""
    sync_batchnorm: bool = False
    """Batch statistics over all workers."""
    precision: Precision = Precision()
    """Numbers, layout and compilation."""
    metrics: tyro.conf.Suppress[Annotated[tuple[Metric, ...], DISTINCT]] = no_effect(())
    """User-defined metrics, in addition to top1, top5, loss and ece."""
    evaluate_every: PositiveInt = 1
    """Epochs between two evaluations, metric lines and checkpoints."""
    patience: NonNegativeInt = 0
    """Number of evaluations without a better top-1 of the deployed network after which the run ends; 0: never. It needs
    a held-out part of the training split (`data.validation`); the test split is never used."""
    log_every: PositiveInt = no_effect(20)
    """Steps between two logged lines of loss terms and notes."""
    workers: Workers | tuple[Workers, Workers] = no_effect(1)
    """Ray Train workers, or the minimum and maximum of an elastic run; 0: this process, without Ray."""
    cpus_per_worker: CPUs = no_effect(1)
    """CPUs of each worker."""
    gpus_per_worker: Probability = no_effect(0)
    """GPUs of each worker: 0, 1, or, in a run with one worker, a fraction such as 0.25, so that four runs share a GPU;
    each may use that fraction of its memory."""
    accelerator_type: str = no_effect("")
    """Ray's name of the GPU that workers need, e.g. A100; empty: any."""
    node_labels: tuple[Label, ...] = no_effect(())
    """Ray labels of the nodes that workers need, each KEY=VALUE, e.g. ray.io/market-type=on-demand."""
    max_failures: Annotated[int, Interval(ge=-1, lt=2**31)] = no_effect(3)
    """Maximum number of losses of workers or nodes without a new checkpoint between them; -1: unlimited. Announced ones
    (SIGTERM, a drained node) don't count. In trials of Tune every loss counts."""
    collective_timeout: Annotated[int, Interval(ge=1, le=1_000_000)] = no_effect(900)
    """Seconds that workers wait for a stuck worker before all restart from the last checkpoint."""
    checkpoint: Checkpoint = no_effect(Checkpoint())
    """When checkpoints are written, and which are kept."""
    wandb: WandB = no_effect(WandB())
    """Weights & Biases."""
    debug: Debug = no_effect(Debug())
    """Files for debugging failed runs."""
    search: tyro.conf.Suppress[Search | None] = no_effect(None)
    """What `raykd tune` searches."""
    published: tyro.conf.Suppress[tuple[Published, ...]] = no_effect(())
    """Published figures of the same experiment."""
