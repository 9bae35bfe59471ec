"""The API reference is built without warnings, and documents every public name."""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path

from pdoc import doc

import raykd
from raykd.contract import Distiller
from raykd.method import MethodConfig
from tests.documents.reference import build, members, modules

CONTRACT = {*vars(MethodConfig), *vars(Distiller)}  # said there, once


def test_the_reference_is_built_without_a_warning(tmp_path: Path):
    build(tmp_path)
    assert "Weight of the cross-entropy" in (tmp_path / "raykd/methods/kd.html").read_text()
    assert "Passes over the training split" in (tmp_path / "raykd/recipe.html").read_text()


def public(kind: type[doc.Doc]) -> Iterator[doc.Doc]:
    for module in modules():
        yield from (member for member in members(module) if isinstance(member, kind) and member.name not in CONTRACT)


def test_every_public_class_and_function_has_a_docstring():
    bare = [member.fullname for kind in (doc.Class, doc.Function) for member in public(kind) if not member.docstring]
    assert not bare


def test_every_public_name_is_in_the_reference():
    documented = {member.fullname for kind in (doc.Class, doc.Function) for member in public(kind)}
    for name, module in raykd.HOMES.items():
        defined = getattr(raykd, name)
        assert {f"{module}.{name}", f"{defined.__module__}.{defined.__qualname__}"} & documented, name


def test_no_docstring_is_a_single_word():
    """One word only repeats the name."""
    kinds = (doc.Class, doc.Function, doc.Variable)
    documented = [member for kind in kinds for member in public(kind) if member.docstring]
    assert not [member.fullname for member in documented if len(member.docstring.split()) == 1]


def test_every_field_of_a_recipe_has_a_docstring():
    """`--help` shows them. Cells, prepared files and intervals are not part of a recipe."""
    bare = []
    for cls in public(doc.Class):
        if "frozen=True, kw_only=True" in " ".join(cls.decorators) and cls.name not in ("Cell", "Prepared", "Interval"):
            own = {field.name for field in dataclasses.fields(cls.obj)} & set(vars(cls.obj).get("__annotations__", ()))
            bare += [f"{cls.fullname}.{name}" for name in own if not cls.members[name].docstring]
    assert not bare


def test_losses_document_their_shapes():
    """In brackets, or that any shape will do."""
    bare = []
    for function in public(doc.Function):
        loss = "." not in function.qualname and "Tensor" in str(inspect.signature(function.obj))
        if loss and not any(words in function.docstring for words in ("[", "any shape", "any one shape")):
            bare.append(function.fullname)
    assert not bare


def test_every_method_names_its_source():
    """A paper with its year, in the module's docstring."""
    methods = [module for module in modules() if module.fullname.count(".") == 2 and ".methods." in module.fullname]
    bare = [m.fullname for m in methods if not any(year in m.docstring for year in map(str, range(2014, 2027)))]
    assert set(bare) <= {f"raykd.methods.{name}" for name in UNPUBLISHED}


UNPUBLISHED = ("base", "supervised", "sum", "linear_probe", "feature_match")
