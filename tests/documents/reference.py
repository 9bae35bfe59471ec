"""The API reference from the docstrings: `make docs` writes it to build/docs, as static pages."""

import inspect
import re
import sys
import types
import typing
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pdoc
from pdoc import doc, extract

from raykd import HOMES, fields
from raykd.recipe.validate import LIMITS

FUNCTIONS = tuple(
    dict.fromkeys(
        module
        for module in HOMES.values()
        if module.startswith(("raykd.api.", "raykd.launch.", "raykd.recipe.changes"))
    )
)
"""Modules of which only the names that `import raykd` offers are public."""
PARTS = {module: tuple(name for name in HOMES if HOMES[name] == module) for module in FUNCTIONS} | {
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
            loaded.__all__ = [part for part in PARTS[name] if hasattr(loaded, part)]  # which imports it on demand
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


NAMES = {
    repr(kind): f"raykd.fields.{name}" for name, kind in vars(fields).items() if typing.get_origin(kind) is Annotated
}
NAMES |= {repr(types.NoneType): "None", repr(Ellipsis): "..."}
"""Of types, by their repr."""


def annotation(kind: Any) -> str:
    """A type as text: ranges by the names of raykd.fields, or in words, as "float (from 0 to 1)"."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if repr(kind) in NAMES:
        return NAMES[repr(kind)]
    if origin is Annotated:
        words = [LIMITS[type(limit)][1](limit) for each in arguments[1:] for limit in _limits(each)]
        return annotation(arguments[0]) + (f" ({' and '.join(words)})" if words else "")
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(annotation, arguments))
    if isinstance(kind, list):  # a callable's parameters
        return f"[{', '.join(map(annotation, kind))}]"
    if origin in (None, Literal):
        return inspect.formatannotation(kind)
    return f"{inspect.formatannotation(origin)}[{', '.join(map(annotation, arguments))}]"


def _limits(each: Any) -> list[Any]:
    parts = list(each) if isinstance(each, Iterable) else [each]
    return [part for part in parts if type(part) in LIMITS]


def as_list(docstring: str, names: Iterable[str]) -> str:
    """A docstring with its descriptions of arguments, "name: text" or "name, other: text", as a list."""
    name = f"(?:{'|'.join(map(re.escape, names))})"
    starts = re.compile(rf"(?:^|(?<=[.:;])\s)({name}(?:, {name})*): ", re.MULTILINE)
    paragraphs = []
    for paragraph in docstring.split("\n\n"):
        text, *items = starts.split(re.sub(r"\s(?=Raises [A-Z])", "\n\n", paragraph))
        listed = [f"- `{each}`: {about.strip()}" for each, about in zip(items[::2], items[1::2], strict=True)]
        paragraphs += [text.strip(), "\n".join(listed)]
    return "\n\n".join(filter(None, paragraphs))


def adapt(member: doc.Doc) -> None:
    """Change how a member is shown: ranges of fields, lists of arguments."""
    if isinstance(member, doc.Variable) and member.annotation is not doc.empty:
        member.annotation_str = f": {annotation(member.annotation)}"
    elif isinstance(member, doc.Function) and member.docstring:
        names = [name for name in member.signature.parameters if name != "self"]
        member.docstring = as_list(member.docstring, names) if names else member.docstring
    elif isinstance(member, doc.Class) and "__init__" in member.members:
        constructor = member.members["__init__"]
        generated = constructor.docstring.startswith("Create new instance of")
        constructor.docstring = "" if generated else constructor.docstring
        adapt(constructor)


def build(folder: Path) -> None:
    """Write the pages; a warning of the generator is an error."""
    pdoc.render.configure(docformat="markdown", include_undocumented=False, footer_text="raykd")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="pdoc")
        pages = {module.fullname: module for module in modules()}
        for module in pages.values():
            for member in members(module):
                adapt(member)
        for name, module in pages.items():
            page = folder / f"{name.replace('.', '/')}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(pdoc.render.html_module(module, pages), encoding="utf-8")
        (folder / "index.html").write_text(pdoc.render.html_index(pages), encoding="utf-8")
        (folder / "search.js").write_text(pdoc.render.search_index(pages), encoding="utf-8")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    print(f"{sys.argv[1]}/index.html")
