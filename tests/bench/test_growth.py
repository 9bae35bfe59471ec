"""The growth benchmark recovers known exponents and draws a well-formed figure."""

import xml.etree.ElementTree as ElementTree

import pytest

from tests.bench.growth import draw, exponent, slope


@pytest.mark.parametrize("power", (0.5, 1.0, 2.0))
def test_the_exponent_ignores_constant_costs(power: float):
    times = {x: 7.0 + 0.3 * (x - 2) ** power for x in (2, 3, 4, 6, 8)}
    assert exponent(times) == pytest.approx(power, abs=1e-9)


def test_the_exponent_distinguishes_quadratic_from_linear():
    assert exponent({k: 1.0 + 3.0**k for k in (2, 3, 4, 6, 8)}) > 2.5


def test_the_slope_is_that_of_the_total_time():
    assert slope({1: 9.0, 10: 2.0, 100: 200.0}) == pytest.approx(2.0)


def test_the_figure_has_every_point_of_every_method(tmp_path):
    found = {("teachers K", "A"): {2: 1.0, 4: 2.0}, ("teachers K", "B"): {2: 1.0, 4: 3.0, 8: 9.0}}
    draw(found | {("classes C", "A"): {10: 1.0, 100: 1.0}}, tmp_path / "growth.svg")
    picture = ElementTree.parse(tmp_path / "growth.svg").getroot()
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}circle"))) == 7
    assert {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")} >= {
        "A",
        "B",
        "teachers K",
        "classes C",
    }
