"""Lesson 05's figures: what is drawn is what was given, and a person can read it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from llama_course.plots import rope as plots
from llama_course.plots.style import SMALLEST_TEXT

CURVES = {m: [math.cos(0.3 * (m - n)) for n in range(40)] for m in (10, 20, 30)}
EXTRA = {"one": [0.1 * n for n in range(100)], "two": [0.2] * 100}
SURVIVED = {"one": [1.0, 0.5, 0.0], "two": [0.5, 0.5, 0.25]}
FIGURES: tuple[Callable[[], Figure], ...] = (
    lambda: plots.where_rope(4, 4, 2),
    lambda: plots.one_curve(CURVES),
    lambda: plots.layouts(8),
    lambda: plots.forgotten(EXTRA, SURVIVED),
    lambda: plots.loss_by_shift([0, 256, 2048], {"a": [1.0, 1.1, 1.2], "b": [1.0, 1.0, 1.0]}),
    lambda: plots.wavelengths({"theta 100": [6.0, 60.0, 600.0, 6000.0]}, 500),
)


def words(made: Figure) -> str:
    """All text of a figure."""
    return "\n".join(t.get_text() for t in made.findobj(Text) if t.get_text())


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
        if axes.axison:
            assert axes.get_xlabel() and (axes.get_ylabel() or axes.get_title(loc="left"))


def lines(made: Figure, axes: int) -> dict[str, Line2D]:
    """The named lines of one panel."""
    return {str(x.get_label()): x for x in made.axes[axes].get_lines()}


def test_scores_are_drawn_by_position_and_by_distance() -> None:
    made = plots.one_curve(CURVES)
    left, right = (lines(made, axes)["query at 20"] for axes in (0, 1))
    assert list(left.get_xdata()) == list(range(40))
    assert list(left.get_ydata()) == list(right.get_ydata()) == CURVES[20]
    assert list(right.get_xdata()) == [20 - n for n in range(40)]
    # Only distances that every curve has are shown: 10 back is the farthest for the query at 10.
    assert made.axes[1].get_xlim() == (10, -9)


def test_both_layouts_have_every_row_once_and_join_the_same_rows() -> None:
    made = plots.layouts(6)
    boxes = [t for t in made.axes[0].texts if t.get_text().isdigit()]
    for start, order in ((0, "012345"), (6, "024135")):
        row = sorted(boxes[start : start + 6], key=lambda t: t.get_position()[0])
        assert "".join(t.get_text() for t in row) == order
    # A pair's frame is its own in colour and in line.
    looks = {
        t.get_text(): (t.get_bbox_patch().get_edgecolor(), t.get_bbox_patch().get_linestyle())
        for t in boxes
    }
    assert looks["0"] == looks["1"] != looks["2"] == looks["3"]
    with pytest.raises(ValueError, match="even"):
        plots.layouts(5)


def test_loss_is_averaged_over_doubling_stretches() -> None:
    made = plots.forgotten(EXTRA, SURVIVED)
    one = lines(made, 1)["one"]
    # Positions 0, 1, 2-3, 4-7, ..., 64-99, as the middle of the tokens read.
    assert list(one.get_xdata()) == [1, 2, 3.5, 6.5, 12.5, 24.5, 48.5, 82.5]
    assert one.get_ydata()[3] == pytest.approx(0.55)
    assert list(lines(made, 0)["two"].get_ydata()) == [100, 50, 50, 25]


def test_the_slow_pairs_are_counted() -> None:
    text = words(plots.wavelengths({"theta 100": [6.0, 60.0, 600.0, 6000.0]}, 500))
    assert "pairs 2 to 3 of\ntheta 100" in text and "context: 500" in text
    assert "of 4 query and 2 key heads" in words(plots.where_rope(4, 4, 2))
    with pytest.raises(ValueError, match="at least"):
        plots.where_rope(0, 4, 2)
