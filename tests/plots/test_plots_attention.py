"""Lesson 06's figures: what is drawn is what was given, and a person can read it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from llama_course.plots import attention as plots
from llama_course.plots.style import SMALLEST_TEXT

TRIANGLE = [[True, False], [True, True]]
MASKS = {
    "all": (range(2), range(2), [[True] * 2] * 2),
    "new": ((5,), (4, 5, 6), [[True, True, False]]),
}
MAPS = {"one": [[1.0, 0, 0], [0.9, 0.1, 0], [0.2, 0.3, 0.5]], "two": np.eye(3).tolist()}
WIDTHS = [1, 8, 64]
COUNTS = {"with": [40.0, 40.0, 40.0], "without": [40.0, 8.0, 1.5]}
SECONDS = {
    "forward": {"a": [0.1, 0.4], "b": [0.2, 0.3]},
    "both": {"a": [0.3, 0.9], "b": [0.5, 1.0]},
}
FIGURES: tuple[Callable[[], Figure], ...] = (
    lambda: plots.masks(MASKS),
    lambda: plots.head_maps(["a", "b", "c"], MAPS),
    lambda: plots.scale(WIDTHS, COUNTS, COUNTS, 64),
    lambda: plots.reach({"level": [0.1] * 20, "falling": [0.1**n for n in range(20)]}),
    lambda: plots.measured([128, 256], SECONDS),
    lambda: plots.cost_by_context([512, 1024], {"a": [1e6, 1e6], "b": [1e6, 2e6]}, {"here": 600}),
)


@pytest.mark.parametrize("make", FIGURES)
def test_text_is_large_enough_and_lines_differ_without_colour(make: Callable[[], Figure]) -> None:
    made = make()
    made.canvas.draw()
    for text in made.findobj(Text):
        assert not text.get_text() or text.get_size() >= SMALLEST_TEXT, text.get_text()
    for axes in made.axes:
        named = [x for x in axes.get_lines() if not str(x.get_label()).startswith("_")]
        looks = [(x.get_linestyle(), x.get_marker()) for x in named]
        assert len(set(looks)) == len(looks), "two lines differ by colour alone"
        assert axes.get_xlabel() or axes.get_ylabel()


def lines(made: Figure, axes: int) -> dict[str, Line2D]:
    """The named lines of one panel."""
    return {str(x.get_label()): x for x in made.axes[axes].get_lines()}


def test_a_mask_has_a_cell_for_each_pair_and_a_cross_where_one_may_look() -> None:
    both = plots.masks({"decoder": (range(2), range(2), TRIANGLE), **MASKS})
    first, _, new = both.axes
    assert len([p for p in first.patches if isinstance(p, Rectangle)]) == 4
    crosses = [(x.get_xdata()[0], x.get_ydata()[0]) for x in first.get_lines()]
    assert crosses == [(0, 0), (0, 1), (1, 1)]  # column, row
    assert [t.get_text() for t in new.get_xticklabels()] == ["4", "5", "6"]
    assert [t.get_text() for t in new.get_yticklabels()] == ["5"]
    assert len(new.get_lines()) == 2


def test_a_map_shows_the_weights_and_rings_the_largest_of_each_row() -> None:
    made = plots.head_maps(["a", "b", "c"], MAPS)
    assert np.allclose(made.axes[0].images[0].get_array(), MAPS["one"])
    rings = {
        (int(x), int(y)) for line in made.axes[0].get_lines() for x, y in line.get_xydata().tolist()
    }
    assert rings == {(0, 0), (0, 1), (2, 2)}  # column, row
    assert [t.get_text() for t in made.axes[0].get_yticklabels()] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="need"):
        plots.head_maps(["a", "b"], MAPS)


def test_what_falls_below_the_floor_is_left_out() -> None:
    made = plots.reach({"falling": [1.0, 1e-6, 1e-13]}, floor=1e-12)
    drawn = np.asarray(lines(made, 0)["falling"].get_ydata(), dtype=float)
    assert list(drawn[:2]) == [1.0, 1e-6] and np.isnan(drawn[2])


def test_curves_are_drawn_as_given() -> None:
    made = plots.scale(WIDTHS, COUNTS, {"with": [0.1, 0.1, 0.1]}, 64)
    assert list(lines(made, 0)["without"].get_ydata()) == COUNTS["without"]
    assert list(lines(made, 1)["with"].get_xdata()) == WIDTHS
    made = plots.measured([128, 256], SECONDS)
    assert list(lines(made, 1)["b"].get_ydata()) == [0.5, 1.0]
    made = plots.cost_by_context([512, 1024], {"a": [1e6, 3e6]}, {"here": 600})
    assert list(lines(made, 0)["a"].get_ydata()) == [1.0, 3.0]  # millions
    assert "here" in {t.get_text() for t in made.axes[0].texts}
