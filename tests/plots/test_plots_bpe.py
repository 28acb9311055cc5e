"""Lesson 01's figures: what is drawn is what was given, and a person can read it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from llama_course.plots import bpe as plots
from llama_course.plots.style import SMALLEST_TEXT

# there: he (1), her (2); the t and the last e stay alone
JOINS = [(1, 2, 3, 1), (1, 3, 4, 2)]
SIZES = [256, 512, 1024]
CURVES = {"one": [1.0, 2.0, 3.0], "two": [1.0, 1.5, 2.0], "three": [1.0, 1.5, 2.01]}
FIGURES: tuple[Callable[[], Figure], ...] = (
    lambda: plots.merge_tree("there", JOINS),
    lambda: plots.merge_tree("a", []),
    lambda: plots.compression(SIZES, CURVES),
    lambda: plots.cost_of_vocabulary(SIZES, {"small": [0.1, 0.2, 0.3], "large": [0.0, 0.0, 0.1]}),
)


def texts(made: Figure) -> list[Text]:
    """All text of a figure."""
    return [t for t in made.findobj(Text) if t.get_text()]


@pytest.mark.parametrize("make", FIGURES)
def test_text_is_large_enough_and_lines_differ_without_colour(make: Callable[[], Figure]) -> None:
    made = make()
    made.canvas.draw()
    for text in texts(made):
        assert text.get_size() >= SMALLEST_TEXT, text.get_text()
    for axes in made.axes:
        named = [x for x in axes.get_lines() if not str(x.get_label()).startswith("_")]
        looks = [(x.get_linestyle(), x.get_marker()) for x in named]
        assert len(set(looks)) == len(looks), "two lines differ by colour alone"
        if axes.axison:
            assert axes.get_xlabel() and axes.get_ylabel()


def test_tree_has_every_piece_and_fills_those_that_are_left() -> None:
    made = plots.merge_tree("there", JOINS)
    nodes = {t.get_text(): t for t in texts(made) if t.get_bbox_patch() and "rank" not in str(t)}
    assert {"t", "h", "r", "e", "he", "her"} <= set(nodes)
    bold = sorted(t.get_text() for t in texts(made) if t.get_weight() == "bold")
    assert bold == ["e", "her", "t"]  # the last e; h, the first e and r are inside her
    words = "\n".join(t.get_text() for t in texts(made))
    assert "rank 1" in words and "rank 2" in words and "filled: 3 left" in words
    # A parent stands above both of its children, and between them.
    (x, y), (left, low), (right, _) = (nodes[n].get_position() for n in ("her", "he", "r"))
    assert y > low > 0 and left < x < right


def test_a_tree_joins_neighbours_only() -> None:
    with pytest.raises(ValueError, match="neighbours"):
        plots.merge_tree("abc", [(0, 2, 3, 1)])
    with pytest.raises(ValueError, match="at least one"):
        plots.merge_tree("", [])


def test_lines_are_the_data_and_their_names_do_not_cover_each_other() -> None:
    made = plots.compression(SIZES, CURVES)
    drawn = {str(x.get_label()): x for x in made.axes[0].get_lines()}
    for name, values in CURVES.items():
        assert list(drawn[name].get_xdata()) == SIZES
        assert list(drawn[name].get_ydata()) == values
    made.canvas.draw()
    boxes = [t.get_window_extent() for t in texts(made) if t.get_text() in CURVES]
    assert len(boxes) == 3
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_shares_are_drawn_in_per_cent() -> None:
    made = plots.cost_of_vocabulary(SIZES, {"small": [0.1, 0.2, 0.3]})
    (line,) = (x for x in made.axes[0].get_lines() if x.get_label() == "small")
    assert list(line.get_ydata()) == pytest.approx([10, 20, 30])
    assert made.axes[0].get_ylim() == (0, 100)
