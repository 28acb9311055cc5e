"""Figures for the first pages: the way through the model, memory, and how coarse numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from llama_course.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    SKY,
    SMALLEST_TEXT,
    figure,
)

# Each row of the tensor has a colour and a hatch of its own, so that items can be followed.
ROW_COLOURS = (SKY, ORANGE, GREEN)
HATCHES = ("", "///", "...")
LINES = ("-", "--", ":", "-.")


def way_through(
    stations: Sequence[tuple[str, str]], lit: Sequence[int] = (), *, title: str = ""
) -> Figure:
    """The stations of the model in order, from left to right: a name in a box, a note below it.

    `lit` are the places in `stations` of today's parts: they have a thick frame and bold letters.
    A note may have several lines.
    """
    lines = 1 + max(note.count("\n") for _, note in stations)
    bottom = 0.42 - 0.12 * lines
    with figure(7.2, 2.1 * (1 - bottom)) as (made, axes):
        for place, (name, note) in enumerate(stations):
            bright = place in lit
            box = FancyBboxPatch(
                (place + 0.04, 0.56),
                *(0.84, 0.36),
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=SKY if bright else "white",
                edgecolor=BLACK if bright else GREY,
                linewidth=2.0 if bright else 1.0,
            )
            axes.add_patch(box)
            weight = "bold" if bright else "normal"
            middle = place + 0.46
            axes.text(
                *(middle, 0.74, name), ha="center", va="center", weight=weight, size=SMALLEST_TEXT
            )
            axes.text(*(middle, 0.45, note), ha="center", va="top", size=SMALLEST_TEXT)
            if place:
                _arrow(axes, (place - 0.12, 0.74), (place + 0.04, 0.74))
        axes.set(xlim=(0, len(stations)), ylim=(bottom, 1))
        axes.set_axis_off()
        if title:
            axes.set_title(title, loc="left")
    return made


def memory_order(
    memory: Sequence[object], views: Sequence[tuple[str, np.ndarray, np.ndarray]]
) -> Figure:
    """Memory as one line of cells, and below it tensors that read these same cells.

    `views` has a title, the values (rows, columns) and, of the same shape, each item's place in
    memory. Colour and hatch say in which row of the first tensor an item stands, and a line passes
    through the items of each tensor in the order of memory.
    """
    rows_of_first = views[0][2]
    row_of = {int(p): row for row, line in enumerate(rows_of_first) for p in line}
    with figure(7.2, 3.5) as (made, axes):
        across = sum(values.shape[1] for _, values, _ in views) + 1.7 * (len(views) - 1)
        begin = (across - len(memory)) / 2
        places = [(begin + i, 4.2) for i in range(len(memory))]
        _cells(axes, memory, places, list(range(len(memory))), row_of)
        axes.text(begin - 0.25, 4.7, "memory", ha="right", va="center")
        left = 0.0
        for title, values, order in views:
            height, width = values.shape
            spots = [(left + c, 2.0 - r) for r in range(height) for c in range(width)]
            _cells(axes, values.ravel().tolist(), spots, order.ravel().tolist(), row_of)
            _path(axes, spots, order.ravel().tolist())
            axes.text(left + width / 2, 3.15, title, ha="center", va="bottom")
            left += width + 1.7
        axes.set(xlim=(-0.3, across + 0.3), ylim=(-0.3, 5.4), aspect="equal")
        axes.set_axis_off()
    return made


def spacing(gaps: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """How far apart neighbouring numbers of each dtype are, against their size, both axes log 2.

    `gaps` has for each dtype the sizes and the distances to the next larger number.
    """
    with figure(6.4, 3.8) as (made, axes):
        for colour, dashes, (name, (sizes, steps)) in zip(
            PALETTE, LINES, gaps.items(), strict=False
        ):
            axes.step(
                sizes,
                steps,
                where="post",
                color=colour,
                linestyle=dashes,
                linewidth=1.8,
                label=name,
            )
        axes.axhline(1.0, color=GREY, linewidth=1.0)
        axes.annotate(
            "1 apart",
            xy=(0.99, 1.0),
            xycoords=("axes fraction", "data"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            color=GREY,
        )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xlabel("size of the number")
        axes.set_ylabel("distance to the next number")
        axes.set_title("Floating-point numbers thin out as they grow", loc="left")
        axes.legend(loc="lower right")
    return made


def _cells(
    axes: Axes,
    values: Sequence[object],
    spots: Sequence[tuple[float, float]],
    order: Sequence[int],
    row_of: Mapping[int, int],
) -> None:
    for value, (x, y), place in zip(values, spots, order, strict=True):
        row = row_of[place]
        axes.add_patch(
            Rectangle(
                (x, y),
                *(1, 1),
                facecolor=ROW_COLOURS[row % 3],
                edgecolor=BLACK,
                hatch=HATCHES[row % 3],
                alpha=0.55,
            )
        )
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor="none", edgecolor=BLACK))
        axes.text(
            *(x + 0.28, y + 0.72, str(value)),
            ha="center",
            va="center",
            weight="bold",
            size=10,
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )


def _path(axes: Axes, spots: Sequence[tuple[float, float]], order: Sequence[int]) -> None:
    """A line through the cells from the first place in memory to the last."""
    ordered = [spots[i] for i in np.argsort(order)]
    x, y = [s[0] + 0.62 for s in ordered], [s[1] + 0.32 for s in ordered]
    axes.plot(x[:-1], y[:-1], color=BLUE, linewidth=1.8, marker="o", markersize=3.5)
    _arrow(axes, (x[-2], y[-2]), (x[-1], y[-1]), colour=BLUE, width=1.8)


def _arrow(
    axes: Axes,
    begin: tuple[float, float],
    end: tuple[float, float],
    *,
    colour: str = GREY,
    width: float = 1.2,
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            begin,
            end,
            arrowstyle="-|>",
            mutation_scale=10,
            color=colour,
            linewidth=width,
            shrinkA=0,
            shrinkB=0,
        )
    )
