"""raykd/methods/README.md says of every method what the method itself says."""

from tests.methods import readme


def test_the_table_of_methods_is_that_of_the_methods():
    before, there, after = readme.parts()
    assert there == readme.table(), "python -m tests.methods.readme writes it anew"


def test_every_quoted_figure_is_of_a_method():
    assert set(readme.PUBLISHED) <= {cls.__name__ for cls in readme.every_method.classes()}
