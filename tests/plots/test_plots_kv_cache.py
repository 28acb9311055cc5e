"""Lesson 07's figures: what is drawn is what was given, and a person can read it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from llama_course.model import causal_mask
from llama_course.plots import kv_cache as plots
from llama_course.plots.style import SMALLEST_TEXT

PLACES = torch.arange(5)
MASKS = {
    "prefill": causal_mask(PLACES, PLACES),
    "chunk": causal_mask(PLACES[2:], PLACES),
    "decode": causal_mask(PLACES[4:], PLACES),
}
WORK = {"without": [1, 3, 6, 10], "with": [1, 2, 3, 4]}
SHARES = {"one": [1.0, 0.5, 0.0], "two": [0.5, 0.25, 0.25]}
SIZES = {"7B": [0.5, 1.0, 2.0], "70B": [0.25, 0.5, 1.0]}
UNEQUAL = causal_mask(torch.tensor([[4], [1]]), PLACES)  # (batch, 1, slots)
FIGURES: tuple[Callable[[], Figure], ...] = (
    lambda: plots.work(WORK),
    lambda: plots.masks(MASKS),
    lambda: plots.rows_of_unequal_length(UNEQUAL, [5, 2]),
    lambda: plots.drift(SHARES),
    lambda: plots.cache_size([1024, 2048, 4096], SIZES, {"a card": 74.5, "weights": 12.5}),
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
        assert axes.get_xlabel()


def marked(made: Figure, axes: int) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The cells (query, key) with a dot, and those with a ring."""
    dots, rings = set(), set()
    for line in made.axes[axes].get_lines():
        assert isinstance(line, Line2D)
        cell = (round(float(line.get_ydata()[0])), round(float(line.get_xdata()[0])))
        (rings if line.get_markerfacecolor() == "none" else dots).add(cell)
    return dots, rings


def filled(made: Figure, axes: int) -> set[tuple[int, int]]:
    """The cells (query, key) that are not white."""
    return {
        (round(cell.get_y() + 0.5), round(cell.get_x() + 0.5))
        for cell in made.axes[axes].patches
        if isinstance(cell, Rectangle) and cell.get_facecolor()[:3] != (1.0, 1.0, 1.0)
    }


def test_a_mask_is_marked_by_more_than_colour_and_old_keys_differ_from_new_ones() -> None:
    made = plots.masks(MASKS)
    for axes, mask in enumerate(MASKS.values()):
        first = 5 - mask.shape[0]
        cells = {(first + q, k) for q, k in mask.nonzero().tolist()}
        dots, rings = marked(made, axes)
        assert filled(made, axes) == dots | rings == cells
        assert rings == {(q, k) for q, k in cells if k < first}
    assert made.axes[1].get_title(loc="left") == "chunk"
    assert "queries 0 to 3:\nanswered before" in words(made)
    with pytest.raises(ValueError, match="the same keys"):
        plots.masks({"one": MASKS["prefill"], "other": MASKS["prefill"][:3, :3]})


def test_rows_show_what_is_seen_and_what_is_empty() -> None:
    made = plots.rows_of_unequal_length(UNEQUAL, [5, 2])
    dots, rings = marked(made, 0)
    assert dots == {(0, 4), (1, 1)} and rings == {(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)}
    hatched = [patch for patch in made.axes[0].patches if patch.get_hatch()]
    assert len(hatched) == 3
    with pytest.raises(ValueError, match="one length for each row"):
        plots.rows_of_unequal_length(UNEQUAL, [5])


def test_lines_are_the_numbers_given() -> None:
    work = plots.work(WORK)
    assert list(work.axes[0].get_lines()[0].get_ydata()) == WORK["without"]
    assert "10" in words(work)
    drift = plots.drift(SHARES)
    assert list(drift.axes[0].get_lines()[1].get_ydata()) == [50, 25, 25]
    size = plots.cache_size([1024, 2048, 4096], SIZES, {"a card": 74.5, "weights": 12.5})
    assert list(size.axes[0].get_lines()[0].get_xdata()) == [1024, 2048, 4096]
    assert "a card: 74.5 GiB" in words(size) and "weights: 12.5 GiB" in words(size)
