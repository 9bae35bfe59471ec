"""The API reference is built without warnings, and documents every public name."""

import ast
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from pdoc import doc

import raykd
from raykd.contract import Distiller
from raykd.fields import Interval, Probability
from raykd.method import MethodConfig
from tests.documents.reference import annotation, as_list, build, members, modules

CONTRACT = {*vars(MethodConfig), *vars(Distiller)}  # documented there, not in every method
OVERRIDDEN = ("build", "open", "prepared")  # methods whose base class documents the errors
RAYKD = Path(raykd.__file__).parent


def test_the_reference_is_built_without_a_warning(tmp_path: Path):
    build(tmp_path)
    assert "Passes over the training split" in (tmp_path / "raykd/recipe.html").read_text()
    method = (tmp_path / "raykd/methods/kd.html").read_text()
    assert "Weight of the cross-entropy" in method and "NonNegative" in method and "Annotated" not in method
    assert "<li><code>storage</code>: " in (tmp_path / "raykd/api/starting/train.html").read_text()


def test_ranges_are_shown_in_words():
    assert annotation(Annotated[float, Interval(ge=0, lt=0.5)]) == "float (at least 0 and below 0.5)"
    assert annotation(tuple[Probability, ...] | None) == "tuple[raykd.fields.Probability, ...] | None"
    assert annotation(Callable[[int], bytes]) == "collections.abc.Callable[[int], bytes]"


def test_arguments_are_shown_as_a_list():
    docstring = "Train it.\n\nname: of the run. size, rate: two\nnumbers. Raises UserError: never."
    expected = "Train it.\n\n- `name`: of the run.\n- `size, rate`: two\nnumbers.\n\nRaises UserError: never."
    assert as_list(docstring, ["name", "size", "rate"]) == expected


def public(kind: type[doc.Doc]) -> Iterator[doc.Doc]:
    for module in modules():
        yield from (member for member in members(module) if isinstance(member, kind) and member.name not in CONTRACT)


def test_every_public_class_and_function_has_a_docstring():
    bare = [member.fullname for kind in (doc.Class, doc.Function) for member in public(kind) if not member.docstring]
    assert not bare


def test_no_class_has_only_the_docstring_of_its_base_class():
    assert not [cls.fullname for cls in public(doc.Class) if not vars(cls.obj).get("__doc__")]


def raises_user_error(function: ast.FunctionDef) -> bool:
    """Whether a function raises UserError itself, not in one that it calls or defines."""
    left: list[ast.AST] = list(function.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.Raise) and ast.unparse(node).startswith("raise UserError("):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            left += ast.iter_child_nodes(node)
    return False


def functions(node: ast.Module | ast.ClassDef) -> Iterator[tuple[ast.FunctionDef, str]]:
    """Every public function and method, and constructors with their class's docstring."""
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from functions(child)
        elif isinstance(child, ast.FunctionDef) and child.name == "__init__":
            yield child, f"{ast.get_docstring(node)} {ast.get_docstring(child)}"
        elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            yield child, ast.get_docstring(child) or ""


def test_functions_that_raise_user_error_say_so():
    bare = []
    for path in sorted(RAYKD.rglob("*.py")):
        if path.parent.name == "commands":
            continue  # every command may
        for function, docstring in functions(ast.parse(path.read_text())):
            silent = "UserError" not in docstring and function.name not in OVERRIDDEN
            if silent and raises_user_error(function):
                bare.append(f"{path.relative_to(RAYKD)}: {function.name}")
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


def fields_of(cls: type) -> set[str]:
    """Names of a dataclass's or named tuple's own fields."""
    fields = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    return (fields | set(getattr(cls, "_fields", ()))) & set(vars(cls).get("__annotations__", ()))


def test_every_field_of_a_public_class_has_a_docstring():
    """`--help` shows those of recipes. Prepared files and the intervals of annotated_types are not public."""
    classes = [cls for cls in public(doc.Class) if cls.name not in ("Prepared", "Interval")]
    bare = [f"{c.fullname}.{name}" for c in classes for name in fields_of(c.obj) if not c.members[name].docstring]
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
