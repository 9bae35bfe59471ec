"""The data sets and formats that recipes name as `data.source`, one dataclass each; importing them costs nothing.

Called by recipes, `raykd data` and data.storage.prepare; never imports the loader or FFCV.
"""

from raykd.data.examples import Examples as Examples
from raykd.data.examples import Splits as Splits
from raykd.data.sources.arrays import Npz, TFRecord
from raykd.data.sources.digits import Digits
from raykd.data.sources.few_labels import FewLabels
from raykd.data.sources.ffcv_files import Beton
from raykd.data.sources.fine_grained import CUB200, MIT67, Stanford40, StanfordDogs
from raykd.data.sources.folders import ImageFolder, ImageNet, TinyImageNet
from raykd.data.sources.libraries import CIFAR10, CIFAR100, Flowers102, Food101, HuggingFace, Pet37, Torchvision
from raykd.data.sources.mixed import Images, Mixed
from raykd.data.sources.shards import WebDataset
from raykd.data.sources.tables import Table

ALL = (
    Digits,
    CIFAR10,
    CIFAR100,
    TinyImageNet,
    ImageNet,
    Flowers102,
    Pet37,
    Food101,
    CUB200,
    StanfordDogs,
    MIT67,
    Stanford40,
    ImageFolder,
    Torchvision,
    HuggingFace,
    Npz,
    TFRecord,
    Table,
    WebDataset,
    Images,
    Mixed,
    FewLabels,
    Beton,
)
