"""How a run is called in tables: its data set, student and method, read off the resolved recipe."""

from pathlib import PurePath
from typing import Any, NamedTuple


class Labels(NamedTuple):
    data: str
    student: str
    method: str
    seed: int


def labels(recipe: dict[str, Any]) -> Labels:
    """Labels of a recipe as `to_dict` gives it; raises KeyError naming the first field that is missing."""
    method, seed = method_name(recipe["method"]), recipe["seed"]
    return Labels(_data(recipe["data"]["source"]), recipe["student"]["name"], method, seed)


def method_name(method: dict[str, Any]) -> str:
    """A method's class, of its settings as `to_dict` gives them: "KD"; of a sum its parts: "KD + CRD"."""
    if "methods" in method:
        return " + ".join(map(method_name, method["methods"]))
    own = method["class"].split(":")[1].split(".")[0]
    return f"{own} of {method_name(method['method'])}" if "method" in method else own


def _data(source: dict[str, Any]) -> str:
    """The source's class; and which one, where the class reads any folder or takes a name."""
    which = [PurePath(value).name for key, value in source.items() if key in ("name", "path", "folder") and value]
    return " ".join([source["class"].rsplit(":", 1)[-1].lower(), *which])
