"""The options of `raykd new`. This module does not import torch."""

from dataclasses import dataclass

from raykd.fields import Pixels


@dataclass(frozen=True, kw_only=True)
class NewOptions:
    """The options that determine the recipe to write."""

    data: str
    """Folder of images or of shards, a table (.csv, .tsv, .parquet, .txt), an .npz or .tar file or a pattern of such,
    or the name of a data set."""
    student: str
    """Student network: one of `raykd list models`, such as timm:mobilenetv3_small_050."""
    teacher: str = ""
    """Teacher: a network that is trained first, such as timm:resnet18, or the directory of a finished run; empty:
    none."""
    method: str = "kd"
    """One of `raykd list methods`."""
    image_size: Pixels = 0
    """Side of the networks' input images in pixels; 0: chosen from the sizes of the images."""
    pretrained: bool = False
    """Start from the library's pretrained weights (`raykd data prepare FILE --download` fetches them)."""
