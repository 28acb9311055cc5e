"""The figures of lesson 03 show the data that they are given, in text that can be read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from llama_course.plots.embeddings import cosines, logits_to_loss, loss_by_context
from llama_course.plots.style import SMALLEST_TEXT
from llama_course.workbook.notebook import LARGEST_PICTURE, picture

P = [0.5, 0.25, 0.25]
SURPRISE = [-math.log(p) for p in P]
GROUPS = {"one": ["a", "b"], "two": ["c"]}
MATRIX = [[1.0, 0.8, 0.1], [0.8, 1.0, 0.2], [0.1, 0.2, 1.0]]
LEVELS = {"blind": 6.9, "frequencies": 5.3}


def made() -> list[Figure]:
    """One of each figure."""
    return [
        logits_to_loss(["a", "b", "c"], [1.0, -0.3, -0.3], P, SURPRISE, 1),
        loss_by_context(["1", "2"], [4.0, 3.0], [0.1, 0.05], LEVELS),
        cosines(GROUPS, MATRIX),
    ]


@pytest.mark.parametrize("number", range(3))
def test_figures_fit_a_notebook_and_their_text_can_be_read(number: int) -> None:
    figure = made()[number]
    first = picture(figure)
    assert first == picture(made()[number]), "equal data give equal pictures"
    assert len(first) < LARGEST_PICTURE
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert texts
    assert not [t.get_text() for t in texts if t.get_fontsize() < SMALLEST_TEXT]


def test_the_token_that_comes_is_hatched_in_all_three_panels() -> None:
    figure = made()[0]
    assert len(figure.axes) == 3
    for panel, values in zip(figure.axes, ([1.0, -0.3, -0.3], P, SURPRISE), strict=True):
        bars = panel.patches[:3]
        np.testing.assert_allclose([b.get_width() for b in bars], values)
        assert [bool(b.get_hatch()) for b in bars] == [False, True, False]
    names = figure.axes[0].get_yticklabels()
    assert [t.get_text() for t in names] == ["a", "b", "c"]
    assert [t.get_fontweight() == "bold" for t in names] == [False, True, False]


def test_a_token_that_is_not_among_them_is_refused() -> None:
    with pytest.raises(ValueError, match="one of 3 tokens"):
        logits_to_loss(["a", "b", "c"], P, P, SURPRISE, 3)


def test_the_loss_is_drawn_with_two_standard_errors_and_the_levels() -> None:
    axes = made()[1].axes[0]
    line = axes.containers[0]
    np.testing.assert_allclose(np.array(line.lines[0].get_ydata(), dtype=float), [4.0, 3.0])
    ends = np.array(line.lines[2][0].get_segments(), dtype=float)[:, :, 1]
    np.testing.assert_allclose(ends, [[3.8, 4.2], [2.9, 3.1]])
    levels = [li for li in axes.get_lines() if len(set(li.get_ydata())) == 1]
    assert {li.get_ydata()[0] for li in levels} >= {6.9, 5.3}
    assert len({li.get_linestyle() for li in levels if li.get_ydata()[0] > 5}) == 2
    assert [t.get_text() for t in axes.texts] == ["blind: 6.90", "frequencies: 5.30"]
    assert axes.get_ylim()[0] == 0


def test_cosines_stand_in_the_order_of_the_groups_without_the_diagonal() -> None:
    axes = made()[2].axes[0]
    shown = axes.images[0].get_array()
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b", "c"]
    assert bool(np.ma.getmaskarray(shown).diagonal().all())
    np.testing.assert_allclose(shown[0, 1:], [0.8, 0.1])
    assert [t.get_text() for t in axes.texts] == ["one", "two"]


def test_a_matrix_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="3 tokens need a square matrix"):
        cosines(GROUPS, [[1.0]])
