"""The figures of the appendices: what is drawn is what was given, and a person can read it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from llama_course.plots import basics, maths
from llama_course.plots.style import SMALLEST_TEXT
from llama_course.workbook.notebook import LARGEST_PICTURE, picture

LETTERS = np.array(list("abcdef"))
PLACES = np.arange(6).reshape(2, 3)
STEPS = [1.0, 0.1, 0.01, 0.001]
RIGHT = [1e-1, 1e-3, 1e-5, 1e-7]


def stations() -> Figure:
    return basics.way_through([("tokens", "(1, 7)"), ("logits", "(1, 7,\n1024)")], lit=[1])


def orders() -> Figure:
    views = [(str(p.shape), LETTERS[p], p) for p in (PLACES, PLACES.reshape(3, 2), PLACES.T)]
    return basics.memory_order(LETTERS.tolist(), views)


def distances() -> Figure:
    sizes = [1.0, 2.0, 4.0]
    return basics.spacing({"coarse": (sizes, [0.5, 1.0, 2.0]), "fine": (sizes, [0.1, 0.2, 0.4])})


def turned() -> Figure:
    return maths.rotation([2.0, 1.0], [-1.0, 2.0])


def bars() -> Figure:
    return maths.softmax_bars([0.0, 1.0], {"flat": [0.4, 0.6], "steep": [0.1, 0.9]})


def slopes() -> Figure:
    return maths.gradient_check(STEPS, {"right": RIGHT, "wrong": [1e-1, 1e-2, 1e-2, 1e-2]})


def funnel() -> Figure:
    return maths.sampled_means([4, 16, 64], [[1.0, 2.0, 1.5], [2.0, 1.2, 1.4]], 1.5, 2.0)


ALL = (stations, orders, distances, turned, bars, slopes, funnel)


def axes_of(made: Figure) -> Any:
    """The only axes; Any, since the drawing library's types of data say nothing."""
    (axes,) = made.axes
    return axes


def texts(made: Figure) -> list[str]:
    found: Any = made.findobj(Text)
    return [t.get_text() for t in found if t.get_text()]


@pytest.mark.parametrize("draw", ALL)
def test_text_is_readable_and_equal_data_give_equal_pictures(draw: Callable[[], Figure]) -> None:
    made = draw()
    made.canvas.draw()
    found: Any = made.findobj(Text)
    assert min(t.get_fontsize() for t in found if t.get_text()) >= SMALLEST_TEXT
    data = picture(draw())
    assert data.startswith(b"\x89PNG") and len(data) <= LARGEST_PICTURE
    assert data == picture(draw())


@pytest.mark.parametrize("draw", ALL)
def test_no_text_is_cut_off(draw: Callable[[], Figure]) -> None:
    made = draw()
    made.canvas.draw()
    canvas: Any = made.canvas
    page = made.bbox
    found: Any = made.findobj(Text)
    for text in found:
        words = text.get_text()
        # Labels of ticks beyond the limits are not drawn, wherever they are.
        tick = (
            words.startswith("$") or words.replace("−", "-").replace(".", "").lstrip("-").isdigit()
        )
        if words and not tick:
            box = text.get_window_extent(canvas.get_renderer())
            inside = box.x0 > -1 and box.x1 < page.x1 + 1 and box.y0 > -1 and box.y1 < page.y1 + 1
            assert inside, words


def test_lit_stations_are_bold_and_have_a_thick_frame() -> None:
    axes = axes_of(stations())
    boxes = [p for p in axes.patches if hasattr(p, "get_boxstyle")]
    assert [b.get_linewidth() for b in boxes] == [1.0, 2.0]
    weights = {t.get_text(): t.get_weight() for t in axes.texts}
    assert weights["tokens"] == "normal" and weights["logits"] == "bold"


def test_the_path_follows_memory() -> None:
    axes = axes_of(orders())
    first, view, transposed = ([*zip(*line.get_data(), strict=True)] for line in axes.get_lines())
    # Along the rows, the height changes seldom; down the columns of a transpose, at every step.
    falls = [sum(a[1] != b[1] for a, b in itertools.pairwise(p)) for p in (first, view, transposed)]
    assert falls == [1, 2, 4]  # of the four steps before the arrow
    assert [t for t in texts(axes.figure) if len(t) == 1] == [*"abcdef" * 2, *"abcdef", *"adbecf"]


def test_distances_are_drawn_as_given() -> None:
    axes = axes_of(distances())
    coarse, fine = axes.get_lines()[:2]
    assert list(coarse.get_ydata()) == [0.5, 1.0, 2.0] and list(fine.get_ydata()) == [0.1, 0.2, 0.4]
    assert coarse.get_linestyle() != fine.get_linestyle()
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_the_angle_and_both_ends_are_named() -> None:
    words = texts(turned())
    assert "90°" in words
    assert "before\n(2.00, 1.00)" in words and "after\n(-1.00, 2.00)" in words


def test_bars_have_their_heights() -> None:
    axes = axes_of(bars())
    assert [p.get_height() for p in axes.patches] == [0.4, 0.6, 0.1, 0.9]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "1"]


def test_the_guide_has_slope_two() -> None:
    axes = axes_of(slopes())
    right, _, guide = axes.get_lines()
    assert list(right.get_ydata()) == RIGHT
    x, y = (np.log10(np.array(values, dtype=float)) for values in guide.get_data())
    assert np.diff(y) / np.diff(x) == pytest.approx(2)


def test_the_band_is_two_standard_errors() -> None:
    axes = axes_of(funnel())
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(1.5 + 2 * 2.0 / 2) and heights.min() == pytest.approx(
        -0.5
    )
    assert [list(line.get_ydata()) for line in axes.get_lines()[1:]] == [
        [1.0, 2.0, 1.5],
        [2.0, 1.2, 1.4],
    ]
