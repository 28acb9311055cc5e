"""Figures of lesson 01: how a word is merged, and what a larger vocabulary saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from llama_course.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    figure,
)

COLOURS = (BLUE, VERMILION, GREEN, PURPLE, SKY, BLACK)
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")

Join = tuple[int, int, int, int]  # first place, first place of the right part, end, rank


def merge_tree(letters: Sequence[str], joins: Sequence[Join]) -> Figure:
    """How the pieces of a word were merged, from its bytes below to its tokens above.

    `letters` are the pieces at the start. Each join says which were merged: those from `first` to
    `middle` with those from `middle` to `end` (not included), by the merge of that rank. The tokens
    that are left are filled.
    """
    if not letters:
        raise ValueError("a word has at least one piece")
    # The piece that begins at a place: its end, its centre and its height now.
    pieces = {i: (i + 1, float(i), 0) for i in range(len(letters))}
    heights = []
    with figure(max(4.6, 0.62 * len(letters) + 1.0), 3.4) as (made, axes):
        axes.set_axis_off()
        for first, middle, end, rank in joins:
            if pieces.get(first, (0,))[0] != middle or pieces.get(middle, (0,))[0] != end:
                raise ValueError(f"({first}, {middle}, {end}) does not join two neighbours")
            left, right = pieces.pop(first), pieces.pop(middle)
            centre, height = (left[1] + right[1]) / 2, max(left[2], right[2]) + 1
            for _, x, y in (left, right):
                axes.plot([x, centre], [y, height], color=GREY, linewidth=1.2, zorder=0)
            pieces[first] = (end, centre, height)
            heights.append((centre, height, "".join(letters[first:end]), rank, first))
        for i, letter in enumerate(letters):
            _node(axes, i, 0, letter, lit=pieces.get(i, (0,))[0] == i + 1)
        for centre, height, text, rank, first in heights:
            _node(axes, centre, height, text, lit=pieces.get(first, (0, 0, 0))[2] == height)
            axes.text(
                centre,
                height + 0.36,
                f"rank {rank:,}",
                ha="center",
                va="bottom",
                size=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )
        top = max([0, *(height for _, height, *_ in heights)])
        axes.set_xlim(-0.8, len(letters) - 0.2)
        axes.set_ylim(-1.25, top + 1.0)
        axes.text(
            *(-0.7, -1.15),
            f"below: {len(letters)} pieces to begin with; filled: {len(pieces)} left at the end",
            color=GREY,
            size=9,
        )
    return made


def _node(axes: Axes, x: float, y: float, text: str, lit: bool) -> None:
    """A piece; one that is left at the end is filled and set in bold."""
    box = {
        "boxstyle": "round,pad=0.35",
        "facecolor": ORANGE if lit else "white",
        "edgecolor": BLACK if lit else GREY,
        "linewidth": 2.0 if lit else 1.0,
    }
    weight = "bold" if lit else "normal"
    axes.text(x, y, text, ha="center", va="center", bbox=box, weight=weight, family="monospace")


def compression(sizes: Sequence[int], curves: Mapping[str, Sequence[float]]) -> Figure:
    """Bytes per token against the size of the vocabulary, one line for each kind of text.

    `curves` has for each text the bytes per token at each of `sizes`. The horizontal axis is
    logarithmic; each line is named at its end.
    """
    with figure(7.4, 4.2) as (made, axes):
        for number, (name, values) in enumerate(curves.items()):
            axes.plot(
                *(sizes, values),
                color=COLOURS[number],
                linestyle=LINES[number],
                marker=MARKERS[number],
                markersize=5,
                linewidth=1.8,
                label=name,
            )
        for name, y in _apart({name: values[-1] for name, values in curves.items()}):
            axes.annotate(name, (sizes[-1], y), (8, 0), textcoords="offset points", va="center")
        axes.axhline(1.0, color=GREY, linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(sizes)[::2])
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(bottom=0.8)
        axes.set_xlabel("vocabulary size (log scale); 256 are the bytes themselves")
        axes.set_ylabel("bytes per token")
    return made


def _apart(ends: Mapping[str, float], gap: float = 0.055) -> list[tuple[str, float]]:
    """Heights for the names at the lines' ends, moved apart where two are nearer than a line."""
    span = max(ends.values()) - 0.8
    placed: list[tuple[str, float]] = []
    for name, y in sorted(ends.items(), key=lambda item: item[1]):
        lowest = placed[-1][1] + gap * span if placed else y
        placed.append((name, max(y, lowest)))
    return placed


def cost_of_vocabulary(sizes: Sequence[float], bodies: Mapping[str, Sequence[float]]) -> Figure:
    """What part of a model's parameters its embedding and head are, against the vocabulary.

    `bodies` gives for each model the share, from 0 to 1, at each of `sizes`.
    """
    with figure(6.4, 3.4) as (made, axes):
        for number, (name, shares) in enumerate(bodies.items()):
            axes.plot(
                *(sizes, [100 * share for share in shares]),
                color=COLOURS[number],
                linestyle=LINES[number],
                marker=MARKERS[number],
                markersize=5,
                linewidth=1.8,
                label=name,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(sizes))
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(0, 100)
        axes.set_xlabel("vocabulary size (log scale)")
        axes.set_ylabel("embedding and head\n(% of all parameters)")
        axes.legend(loc="upper left")
    return made
