"""The data section of a recipe. This module imports neither torch nor FFCV."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from raykd import UserError
from raykd.fields import Fraction, Interval, NonNegative, NonNegativeInt, Pixels, Probability, no_effect

if TYPE_CHECKING:
    from pathlib import Path

    from raykd.data.examples import Splits

PREPARE_AGAIN = "delete the file and prepare it again"
Channels = tuple[float, float, float]
Deviation = Annotated[float, Interval(ge=0.001, le=1000)]
Level = Annotated[int, Interval(ge=0, le=255)]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A data set on disk, as .beton files."""

    train: "Path"
    test: "Path | None"
    """None: there is no test split."""
    classes: tuple[str, ...]
    train_size: int
    test_size: int
    image: str = ""
    """Field of the images, see `Header`."""
    label: str = ""
    """Field of the labels."""
    repair: str = PREPARE_AGAIN
    """What error messages advise for damaged files."""
    mean: Channels | None = None
    """Per-channel mean of all training pixels, scaled to [0, 1]; None: not measured."""
    std: Channels | None = None
    """Per-channel standard deviation of the same."""
    sides: tuple[int, int] | None = None
    """The shortest and the longest side of all images, in pixels."""
    unlabelled: int = 0
    """Training images without a label."""
    notes: tuple[str, ...] = ()
    """Messages for the user: what was left out of the data, and what was assumed."""
    identity: str = ""
    """Unique for the data's content and encoding."""

    @property
    def side_range(self) -> str:
        """`sides` as text, such as "40" or "32 to 1,024"; empty if they were not measured."""
        return " to ".join(f"{side:,}" for side in sorted(set(self.sides or ())))


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where images and labels come from; subclasses are data sets and file formats.

    Your own is a subclass in a file next to the recipe, with `name` and `open`.
    """

    name: ClassVar[str] = ""
    """Short name, as in `raykd list datasets`, and the stem of the files written from it."""
    description: ClassVar[str] = ""
    """One line for `raykd list datasets`."""
    unlabelled_images: ClassVar[bool] = False
    """Whether some training images never have labels, which is then known before the data are read."""

    def open(self, root: "Path", download: bool) -> "Splits":
        """Class names, and the images and labels of the training split and the test split.

        root: the folder of `data.root`. download: whether missing data may be downloaded.
        Raises UserError if the data are missing or invalid.
        """
        raise UserError("data.source is missing: set it to a data set (`raykd list datasets`)")

    def paths(self) -> "tuple[Path, ...]":
        """Files and folders of the data; if names, sizes or times in them change, new .beton files are written."""
        from pathlib import Path

        path = getattr(self, "path", "")
        return (Path(path).expanduser(),) if path else ()

    def prepared(self) -> "Prepared | None":
        """Existing files in FFCV's format, which are used as they are; None: files are written from `open`.

        Raises UserError if the files can't be used.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How images are stored in the .beton files."""

    mode: Literal["smart", "raw", "jpeg", "proportion"] = "smart"
    """raw: pixels; jpeg; smart: raw up to 64×64 pixels, else jpeg; proportion: a fixed share of the images raw."""
    quality: Annotated[int, Interval(ge=1, le=100)] = 90
    """Quality of JPEG, 1 to 100."""
    max_resolution: Pixels = 0
    """Images whose longer side exceeds this are shrunk to it; 0: kept as they are."""
    raw_share: Probability = 0.5
    """Share of the images stored raw, from 0 to 1; only for mode proportion."""
    ground: tuple[Level, Level, Level] = (255, 255, 255)
    """Background of transparent images: red, green and blue from 0 to 255."""
    white: NonNegative = 0.0
    """Value of white in images with more than 8 bits per channel; 0: 65,535 for 16 bits, and other images are
    rejected."""


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Base class of augmentation and geometry steps; raykd.data.transforms has the subclasses."""


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How the images of a global batch are mixed on the device; this base class does not mix."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set with its augmentation, its normalisation, and how it is stored and read."""

    source: Source
    """The data set."""
    image_size: Annotated[int, Interval(ge=1, lt=2**16)]
    """Side in pixels of the square images that the networks get."""
    mean: tuple[Probability, Probability, Probability] | None = None
    """Per-channel mean of the pixels scaled to [0, 1], for normalisation; None: measured on the training images."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """Per-channel standard deviation of the pixels scaled to [0, 1]; None: measured on the training images."""
    train: tuple[Transform, ...] = ()
    """Augmentation of training images, in order."""
    test: tuple[Transform, ...] = ()
    """Geometry of evaluation images, in order."""
    mixing: Mixing = Mixing()
    """Mixup or CutMix of every training batch."""
    validation: Fraction = 0.0
    """Share of the training split that is held out (stratified, the same in all runs), from 0 to 1; if above 0,
    evaluations use it instead of the test split."""
    labelled_share: Probability | None = None
    """If some training images have no labels: the share of labelled ones among the images read, from 0 to 1; None: as
    many as there are."""
    order: Literal["random", "quasi-random"] = "random"
    """Order of the training images. quasi-random: shuffled within windows of the file's pages, so that each page is
    read once per epoch, for files larger than memory."""
    views: NonNegativeInt = 0
    """Number of passes after which augmentations repeat: pass p has the images of pass p mod `views`, so that cached
    teachers run only in the first `views` passes. With mixing, whole batches repeat. 0: never."""
    root: str = no_effect("~/.cache/raykd")
    """Folder of the .beton files and downloads."""
    download: bool = no_effect(False)
    """Download a missing data set, if its source supports it, and missing weights by URL or of libraries, on each node
    that reads them."""
    shared: str = no_effect("")
    """Folder or URI (s3://, gs://, …) from which all nodes copy the .beton files; empty: none."""
    encoding: Encoding = Encoding()
    """How images are stored in the .beton files."""
    loader: Literal["ffcv", "torch"] = no_effect("ffcv")
    """ffcv, or PyTorch's DataLoader where FFCV can't be built (much slower)."""

    @property
    def statistics(self) -> tuple[Channels, Channels]:
        """Per-channel mean and standard deviation; raises UserError if they are neither given nor measured."""
        if self.mean is None or self.std is None:
            raise UserError("data.mean, data.std: not measured yet; run `raykd data prepare`, or set both")
        return self.mean, self.std
