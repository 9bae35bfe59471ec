"""A study that takes seconds: a table over the recipe of `tiny_recipe`."""

import textwrap

from tests.support import tiny_recipe as tiny

STUDY = """
from raykd.methods.kd import KD
from raykd.recipe.study import Column, Row, Study

teacher = replace(base, student=Network(name="resnet14"))
taught = replace(base, teachers=Teachers(sources=(Train(recipe=teacher),)))
small = Column(name="small", recipe=taught)
larger = Column(name="larger", recipe=replace(taught, student=Network(name="resnet14"), epochs=1))
study = Study(
    rows=(Row(name="alone", method=Fragile.Config()), Row(name="KD", method=KD.Config()){rows}),
    columns=(small, larger),
    baseline="alone",
    seeds=(0, 1),{more}
)
"""


def write(folder, name, root, rows="", more=""):
    """A study's file; `rows` and `more` are further rows and fields, each opened by a comma."""
    path = tiny.write(folder, name, "base", root)
    path.write_text(path.read_text() + textwrap.dedent(STUDY).format(rows=rows, more=more))
    return path
