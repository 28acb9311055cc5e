"""Lesson 02's figures: what is drawn is what was given, and a person can read it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from llama_course.plots import sentencepiece as plots
from llama_course.plots.style import ORANGE, SMALLEST_TEXT

MERGES = [(3, "he", -1.0), (0, "at", -8.0), (2, "the", -12.0)]
COSTS = {"bytes": {"Greek": 2.0, "emoji": 4.0}, "ids": {"Greek": 1.5, "emoji": 4.0}}
FIGURES: tuple[Callable[[], Figure], ...] = (
    lambda: plots.merge_tree("atthex", MERGES),
    lambda: plots.ids_per_character(COSTS),
)


@pytest.mark.parametrize("make", FIGURES)
def test_text_is_large_enough_and_axes_are_labelled(make: Callable[[], Figure]) -> None:
    made = make()
    made.canvas.draw()
    for text in made.findobj(Text):
        assert not text.get_text() or text.get_size() >= SMALLEST_TEXT, text.get_text()
    assert made.axes[0].get_xlabel()


def test_the_tree_has_a_node_for_each_merge_and_lights_what_is_left() -> None:
    made = plots.merge_tree("atthex", MERGES)
    nodes = [t for t in made.axes[0].texts if t.get_bbox_patch() is not None]
    lit = {
        t.get_text(): t.get_position()
        for t in nodes
        if t.get_bbox_patch().get_facecolor() == to_rgba(ORANGE)
    }
    # `the` stands half-way between t (at 2) and he (at 3.5), at the height of the third merge.
    assert lit == {"at": (0.5, 2), "the": (2.75, 3), "x": (5.0, 0)}
    assert len(nodes) == len(MERGES) + len("atthex")
    # Lit nodes are bold as well: never colour alone.
    assert {t.get_text() for t in nodes if t.get_weight() == "bold"} == set(lit)
    scores = [t.get_text() for t in made.axes[0].texts if t.get_bbox_patch() is None]
    assert scores == ["-1", "-8", "-12", "score"]


@pytest.mark.parametrize(
    "merges",
    [
        [(0, "he", -1.0)],  # other characters
        [(2, "the", -1.0)],  # three characters at once
        [(3, "he", -1.0), (2, "th", -1.0)],  # h belongs to another piece already
        [(2, "th", -1.0), (3, "he", -1.0)],
        [(5, "x", -1.0)],  # one character is no merge
    ],
)
def test_merges_that_do_not_fit_are_refused(merges: list[tuple[int, str, float]]) -> None:
    with pytest.raises(ValueError, match="not of two neighbours"):
        plots.merge_tree("atthex", merges)


def test_each_way_of_counting_has_its_marker_and_its_numbers() -> None:
    lines = plots.ids_per_character(COSTS).axes[0].get_lines()
    assert [list(line.get_xdata()) for line in lines] == [[2.0, 4.0], [1.5, 4.0]]
    assert len({line.get_marker() for line in lines}) == 2
