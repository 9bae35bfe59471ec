"""raykd/methods/README.md agrees with the methods."""

from tests.methods import readme


def test_the_readme_lists_every_method():
    before, there, after = readme.parts()
    assert there == readme.table(), "python -m tests.methods.readme writes it anew"


def test_every_published_figure_belongs_to_a_method():
    assert set(readme.PUBLISHED) <= {cls.__name__ for cls in readme.every_method.classes()}
