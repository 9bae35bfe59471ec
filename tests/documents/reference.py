"""The API reference from the docstrings: `make docs` writes it to build/docs, as static pages."""

import inspect
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pdoc
from pdoc import doc, extract

from raykd import OFFERED

FUNCTIONS = tuple(name for name in OFFERED if name.startswith(("raykd.api.", "raykd.launch.", "raykd.recipe.changes")))
"""Modules of which only the names that `import raykd` offers are public."""
PARTS = {name: tuple(OFFERED[name].split()) for name in FUNCTIONS} | {
    "raykd.reports.report": ("Written",),
    "raykd.deploy.predictor": ("Prediction", "Predictor"),
    "raykd.models": ("create",),
    "raykd.models.staged": ("Staged",),
}
"""Modules of which only some names are public: functions, and the types of their results."""
PUBLIC = (
    "raykd.recipe",
    "raykd.recipe.study",
    *FUNCTIONS,
    "raykd.reports.report",
    "raykd.deploy.predictor",
    "raykd.models",
    r"!raykd\.models\..",
    "raykd.models.config",
    "raykd.models.staged",
    r"!raykd\.models\.staged\..",
    "raykd.contract",
    "raykd.losses",
    "raykd.method",
    "raykd.metric",
    "raykd.fields",
    "raykd.methods",
    "raykd.data.config",
    "raykd.data.examples",
    "raykd.data.sources",
    "raykd.data.transforms",
    "raykd.data.mixing",
)
"""What programs, recipes and extensions use; other modules are internal."""


def modules() -> Iterator[doc.Module]:
    """The public modules, with a line for each `Config`, whose fields say the rest."""
    for name in extract.walk_specs(PUBLIC):
        loaded = extract.load_module(name)
        if name in PARTS:
            loaded.__all__ = PARTS[name]
        module = doc.Module(loaded)
        for _, cls in inspect.getmembers(module.obj, inspect.isclass):
            config = vars(cls).get("Config")
            if cls.__module__ == name and config is not None and (config.__doc__ or "").startswith("Config("):
                config.__doc__ = f"Settings of `{cls.__name__}`."
        yield module


def members(space: doc.Namespace) -> Iterator[doc.Doc]:
    """A module's or class's own public members, and theirs."""
    for member in space.members.values() if isinstance(space, doc.Module) else space.own_members:
        if not member.name.startswith("_"):
            yield member
            if isinstance(member, doc.Class):
                yield from members(member)


def build(folder: Path) -> None:
    """Write the pages; a warning of the generator is an error."""
    pdoc.render.configure(docformat="markdown", include_undocumented=False, footer_text="raykd")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="pdoc")
        list(modules())
        pdoc.pdoc(*PUBLIC, output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    print(f"{sys.argv[1]}/index.html")
