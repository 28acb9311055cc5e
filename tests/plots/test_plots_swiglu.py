"""The figures of lesson 08 show the data that they are given, in text that can be read."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from llama_course.plots.style import SMALLEST_TEXT
from llama_course.plots.swiglu import activations, gates
from llama_course.workbook.notebook import LARGEST_PICTURE, picture

Z = [-1.0, 0.0, 1.0]
CURVES = {"SiLU": [-0.27, 0.0, 0.73], "ReLU": [0.0, 0.0, 1.0]}
SLOPES = {"SiLU": [0.07, 0.5, 0.93], "ReLU": [0.0, 0.0, 1.0]}
VALUES = [[-0.1, 0.5, 1.0], [1.0, 0.0, 0.2]]
MEMBERS = [[False, True, True], [True, False, False]]


def made() -> list[Figure]:
    """One of each figure."""
    return [activations(Z, CURVES, SLOPES), gates(["a", "b", "c"], ["one", "two"], VALUES, MEMBERS)]


@pytest.mark.parametrize("number", range(2))
def test_figures_fit_a_notebook_and_their_text_can_be_read(number: int) -> None:
    figure = made()[number]
    first = picture(figure)
    assert first == picture(made()[number]), "equal data give equal pictures"
    assert len(first) < LARGEST_PICTURE
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert texts
    assert not [t.get_text() for t in texts if t.get_fontsize() < SMALLEST_TEXT]


def test_curves_and_slopes_have_a_panel_each_and_lines_that_differ_in_shape() -> None:
    figure = made()[0]
    assert len(figure.axes) == 2
    for panel, lines in zip(figure.axes, (CURVES, SLOPES), strict=True):
        drawn = {line.get_label(): line for line in panel.get_lines()}
        for name, values in lines.items():
            np.testing.assert_allclose(drawn[name].get_xdata(), Z)
            np.testing.assert_allclose(drawn[name].get_ydata(), values)
        assert drawn["SiLU"].get_linestyle() != drawn["ReLU"].get_linestyle()
        assert drawn["SiLU"].get_linewidth() > drawn["ReLU"].get_linewidth()


def test_gates_are_shown_from_shut_to_open_with_a_dot_for_each_member() -> None:
    axes = made()[1].axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.0, 0.5, 1.0], [1.0, 0.0, 0.2]])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["one", "two"]
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    places = [(x, y) for line in dots for x, y in zip(*line.get_data(), strict=True)]
    assert places == [(1, 0), (2, 0), (0, 1)]


def test_values_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit values of shape"):
        gates(["a"], ["one", "two"], VALUES, MEMBERS)
