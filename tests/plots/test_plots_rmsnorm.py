"""The figures of lesson 04 show the data that they are given, in text that can be read."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from llama_course.plots.rmsnorm import cast_orders, epsilon_bend, stream_by_layer, where_norms
from llama_course.plots.style import SMALLEST_TEXT
from llama_course.workbook.notebook import LARGEST_PICTURE, picture

BEND = {0.0: [1.0, 1.0, 1.0], 1e-4: [0.0995, 0.7071, 0.995]}


def made() -> list[Figure]:
    """One of each figure."""
    return [
        where_norms(3),
        epsilon_bend([1e-3, 1e-2, 1e-1], BEND),
        stream_by_layer(["first", "last"], [[1.0, 2.0], [8.0, 9.0]], [[1.0, 1.1], [0.9, 1.0]]),
        cast_orders({"one": [0.0, 0.3, -0.3], "other": [0.0, 0.9, -0.9]}),
    ]


@pytest.mark.parametrize("number", range(4))
def test_figures_fit_a_notebook_and_their_text_can_be_read(number: int) -> None:
    figure = made()[number]
    first = picture(figure)
    assert first == picture(made()[number]), "equal data give equal pictures"
    assert len(first) < LARGEST_PICTURE
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert texts
    small = [t.get_text() for t in texts if t.get_fontsize() < SMALLEST_TEXT]
    powers = [t for t in small if not t.startswith("$")]  # exponents of a log axis
    assert not powers, powers


@pytest.mark.parametrize("layers", [1, 32, 80])
def test_the_map_counts_its_norms(layers: int) -> None:
    words = [t.get_text() for t in where_norms(layers).axes[0].texts]
    assert words.count("norm") == 3  # two in the block, one before the head
    assert any(f"{2 * layers + 1} norms" in text for text in words)


def test_the_map_refuses_a_model_without_blocks() -> None:
    with pytest.raises(ValueError, match="at least one block"):
        where_norms(0)


def test_each_epsilon_has_its_line_and_a_dot_at_its_root() -> None:
    axes = epsilon_bend([1e-3, 1e-2, 1e-1], BEND).axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    lines = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_allclose(lines["eps = 0.0001"].get_ydata(), BEND[1e-4])
    np.testing.assert_allclose(lines["eps = 0"].get_ydata(), BEND[0.0])
    assert lines["eps = 0"].get_linestyle() != lines["eps = 0.0001"].get_linestyle()
    dots = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, [0.01])  # none for epsilon zero


def test_the_stream_is_drawn_with_medians_and_both_ends() -> None:
    stream = [[1.0, 2.0, 5.0], [10.0, 20.0, 50.0]]
    axes = stream_by_layer(["a", "b"], stream, [[1.0, 1.0, 1.0]] * 2).axes[0]
    assert axes.get_yscale() == "log"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "b"]
    before, after = axes.containers
    np.testing.assert_allclose(before.lines[0].get_ydata(), [2.0, 20.0])
    np.testing.assert_allclose(after.lines[0].get_ydata(), [1.0, 1.0])
    ends = np.array(before.lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(ends, [[1.0, 5.0], [10.0, 50.0]])
    assert before.lines[0].get_marker() != after.lines[0].get_marker()


def test_rounding_errors_are_shown_as_shares_of_each_way() -> None:
    figure = cast_orders({"one": [0.0, 0.0, 0.3, -0.3], "other": [0.9] * 8})
    heights = [[p.get_height() for p in axes.patches] for axes in figure.axes]
    assert len(heights) == 2
    np.testing.assert_allclose([sum(h) for h in heights], 100)
    assert max(heights[0]) == pytest.approx(50)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["one", "other"]
