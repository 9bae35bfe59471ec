"""A run's labels in tables: its data set, student and method, from the resolved recipe."""

from pathlib import PurePath
from typing import Any, NamedTuple


class Labels(NamedTuple):
    """The labels of a run in tables, such as "digits", "resnet8", "KD" and 0."""

    data: str
    student: str
    method: str
    seed: int


def labels(recipe: dict[str, Any]) -> Labels:
    """Labels of a recipe from `to_dict`; raises KeyError naming the first missing field."""
    method, seed = method_name(recipe["method"]), recipe["seed"]
    return Labels(_data(recipe["data"]["source"]), recipe["student"]["name"], method, seed)


def method_name(method: dict[str, Any]) -> str:
    """The name of a method from its plain settings: "KD"; for a sum, its parts: "KD + CRD"."""
    if "methods" in method:
        return " + ".join(map(method_name, method["methods"]))
    own = method["class"].split(":")[1].split(".")[0]
    return f"{own} of {method_name(method['method'])}" if "method" in method else own


def _data(source: dict[str, Any]) -> str:
    """The source's class, with the folder or the name that it reads, if it has one."""
    which = [PurePath(value).name for key, value in source.items() if key in ("name", "path", "folder") and value]
    return " ".join([source["class"].rsplit(":", 1)[-1].lower(), *which])
