"""The figures of lesson 09 show the data that they are given, in text that can be read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from llama_course.plots.model import deep_stacks, parameters_by_part, trained_stream
from llama_course.plots.style import SMALLEST_TEXT
from llama_course.workbook.notebook import LARGEST_PICTURE, picture

SIZES = {"good": [1.0, 2.0, 3.0], "bad": [1.0, 500.0, math.inf]}
COSINES = {"good": [0.0, 0.1, 0.2], "bad": [0.0, 0.9, math.nan]}
PARTS = {"attention": 2_000_000_000, "norms": 1_000_000}


def made() -> list[Figure]:
    """One of each figure."""
    added = {"attention": [0.5, 1.0], "feed-forward": [2.0, 3.0]}
    return [
        deep_stacks(SIZES, SIZES, COSINES),
        trained_stream([0.1, 2.0, 4.0], added, [9.0, 5.0, 3.0], 7.0),
        parameters_by_part(PARTS),
    ]


@pytest.mark.parametrize("number", range(3))
def test_figures_fit_a_notebook_and_their_text_can_be_read(number: int) -> None:
    figure = made()[number]
    first = picture(figure)
    assert first == picture(made()[number]), "equal data give equal pictures"
    assert len(first) < LARGEST_PICTURE
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert texts
    small = [t.get_text() for t in texts if t.get_fontsize() < SMALLEST_TEXT]
    assert not [t for t in small if not t.startswith("$")], small  # exponents of a log axis


def test_a_stack_that_ends_in_no_number_ends_with_a_cross() -> None:
    sizes, gradients, alike = made()[0].axes
    assert sizes.get_yscale() == gradients.get_yscale() == "log"
    assert alike.get_yscale() == "linear"
    good, bad, cross = sizes.get_lines()
    np.testing.assert_allclose(good.get_ydata(), SIZES["good"])
    np.testing.assert_allclose(bad.get_ydata(), [1.0, 500.0])
    assert cross.get_marker() == "x"
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (1, 500.0)
    assert good.get_linestyle() != bad.get_linestyle()
    assert good.get_marker() != bad.get_marker()


def test_a_line_without_any_number_is_said_in_words() -> None:
    gradients = {"good": [1.0, 2.0], "lost": [math.nan, math.nan]}
    panels = deep_stacks(gradients, gradients, gradients).axes
    assert [t.get_text() for t in panels[1].texts] == ["lost: not a number"]


def test_the_trained_stream_shows_what_each_layer_adds_and_every_loss() -> None:
    left, right = made()[1].axes
    heights = [bar.get_height() for bar in left.patches]
    assert heights == [0.5, 1.0, 2.0, 3.0]
    np.testing.assert_allclose(left.get_lines()[0].get_ydata(), [0.1, 2.0, 4.0])
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), [9.0, 5.0, 3.0])
    np.testing.assert_allclose(right.get_lines()[1].get_ydata(), 7.0)
    words = [t.get_text() for t in right.texts]
    assert words == ["9.0", "5.0", "3.0", "a blind guess"]
    assert len(left.get_xticklabels()) == len(right.get_xticklabels()) == 3


def test_parameters_are_shown_in_billions_with_their_exact_count() -> None:
    axes = made()[2].axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [2.0, 0.001])
    assert [t.get_text() for t in axes.texts] == ["2,000,000,000  (100.0%)", "1,000,000"]
    assert "2,001,000,000" in axes.get_xlabel()
