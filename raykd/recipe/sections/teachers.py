"""Teachers: where they come from, and how their outputs are computed and stored."""

from dataclasses import dataclass
from typing import Annotated, Literal

from raykd.data.config import Deviation
from raykd.fields import Count, Interval, NonNegative, NonNegativeInt, Pixels, Probability, no_effect
from raykd.models.config import Network

CPUs = Annotated[int, Interval(ge=1, le=65_536)]


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Base class of the sources of teachers: `Run`, `Train`, `Pretrained`."""


@dataclass(frozen=True, kw_only=True)
class Run(Teacher):
    """The student of a finished raykd run as a teacher."""

    path: str
    """Directory of the run, a local path or a URI."""


@dataclass(frozen=True, kw_only=True)
class Pretrained(Teacher):
    """A network with its library's weights, or with those of a file, as a teacher."""

    network: Network
    """The network, with `weights`; FILE#backbone: without its last layer, for methods that match features only."""
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
    """The teachers, in order; empty: none."""
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
    """On GPUs, fuse the kernels of the teachers' passes and replay them as CUDA graphs, with a single launch; off: the
    networks' own code launches its kernels one by one."""
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
    """Remote: number of actors of each worker, which compute its steps in turn."""
    cpus_per_actor: CPUs = no_effect(1)
    """Remote: CPUs of each actor. With as many as a worker, on the same type of device, results equal those of inline
    bit for bit."""
    gpus_per_actor: Probability = no_effect(0.0)
    """Remote: GPUs of each actor, at most 1; a fraction, such as 0.5, if several share one."""
    ahead: Count = no_effect(2)
    """Remote: maximum number of steps that each actor is ahead of the student; their outputs are held in memory."""
