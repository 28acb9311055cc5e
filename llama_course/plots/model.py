"""Figures of lesson 09: deep stacks, a trained model's stream, and where the parameters are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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

COLOURS = (BLUE, VERMILION, GREEN, PURPLE)
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")


def deep_stacks(
    sizes: Mapping[str, Sequence[float]],
    gradients: Mapping[str, Sequence[float]],
    alike: Mapping[str, Sequence[float]],
) -> Figure:
    """Three panels along a stack of blocks, one line for each way to build a block.

    `sizes` and `gradients` are root mean squares of the stream and of its gradient, in front of
    block 0, 1, ... and behind the last; their axes are logarithmic. `alike` is the cosine between
    two tokens. Where a line is not finite any more, it ends with a cross; one that is nowhere
    finite is said in words.
    """
    with figure(7.4, 3.5) as (made, axes):
        axes.remove()
        panels = made.subplots(1, 3)
        rows = (
            (panels[0], sizes, "size of the stream", True),
            (panels[1], gradients, "size of its gradient", True),
            (panels[2], alike, "cosine of two tokens", False),
        )
        for panel, values, title, log in rows:
            _lines(panel, values, log)
            panel.set_title(title, loc="left", fontsize=10)
        panels[1].set_xlabel("blocks that the stream has passed")
        # Far beyond these there is nothing to tell apart: it is lost either way.
        panels[0].set_ylim(0.1, 1e4)
        handles, labels = panels[0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return made


def _lines(panel: Axes, values: Mapping[str, Sequence[float]], log: bool) -> None:
    for i, (name, line) in enumerate(values.items()):
        numbers = np.asarray(line, dtype=float)
        places = np.flatnonzero(np.isfinite(numbers))
        look: dict[str, Any] = {"color": COLOURS[i % 4], "linestyle": LINES[i % 4]}
        marks: dict[str, Any] = {"marker": MARKERS[i % 4], "markersize": 4.5, "markevery": (i, 8)}
        panel.plot(places, numbers[places], label=name, linewidth=1.8, **look, **marks)
        if 0 < len(places) < len(numbers):
            panel.plot(places[-1], numbers[places[-1]], "x", color=BLACK, markersize=8)
    gone = [n for n, line in values.items() if not np.isfinite(np.asarray(line, dtype=float)).any()]
    if gone:
        words = f"{', '.join(gone)}: not a number"
        panel.text(0.98, 0.97, words, ha="right", va="top", size=9, transform=panel.transAxes)
    if log:
        panel.set_yscale("log")
    panel.set_xticks(range(0, max(len(line) for line in values.values()), 8))


def trained_stream(
    stream: Sequence[float],
    added: Mapping[str, Sequence[float]],
    losses: Sequence[float],
    blind: float,
) -> Figure:
    """Two panels along a trained model: sizes, and the loss if the head read the stream here.

    `stream` and `losses` have one value in front of block 0 and one behind each block; `added` has
    for each of two kinds of layer the size of what it adds in each block. `blind` is the loss of
    a guess among all tokens. Losses are in nats per token.
    """
    names = ["in front", *(f"behind\nblock {i}" for i in range(len(stream) - 1))]
    places = np.arange(len(stream))
    with figure(7.4, 3.7) as (made, axes):
        axes.remove()
        left, right = made.subplots(1, 2)
        looks = ((ORANGE, "//"), (SKY, ".."))
        for i, ((name, values), (colour, hatch)) in enumerate(
            zip(added.items(), looks, strict=True)
        ):
            left.bar(
                places[1:] + (i - 0.5) * 0.34,
                values,
                0.34,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                label=f"added by {name}",
            )
        left.plot(places, stream, color=BLUE, marker="o", linewidth=2, label="the stream")
        left.set_title("size (root mean square)", loc="left", fontsize=10)
        left.legend(loc="upper left")
        left.set_ylim(0, 1.35 * max(stream))
        right.plot(places, losses, color=VERMILION, marker="s", linewidth=2)
        for place, loss in zip(places, losses, strict=True):
            right.annotate(
                f"{loss:.1f}",
                (place, loss),
                (0, 7),
                textcoords="offset points",
                ha="center",
                size=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
            )
        right.axhline(blind, color=GREY, linestyle="--", linewidth=1.2)
        right.text(places[-1], blind, "a blind guess", color=GREY, ha="right", va="bottom", size=9)
        right.set_ylim(0, 1.12 * max(*losses, blind))
        right.set_title("loss if the head reads here (nats)", loc="left", fontsize=10)
        for panel in (left, right):
            panel.set_xticks(places, names)
    return made


def parameters_by_part(parts: Mapping[str, int]) -> Figure:
    """Horizontal bars: how many parameters each part of a model has, and which share of all."""
    names, counts = list(parts), list(parts.values())
    total = sum(counts)
    with figure(6.8, 0.9 + 0.42 * len(names)) as (made, axes):
        places = np.arange(len(names))
        axes.barh(places, [n / 1e9 for n in counts], color=BLUE, height=0.62)
        for place, n in zip(places, counts, strict=True):
            words = f"{n:,}  ({n / total:.1%})" if n / total >= 0.001 else f"{n:,}"
            axes.annotate(
                words, (n / 1e9, place), (6, 0), textcoords="offset points", va="center", size=9
            )
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1.5 * max(counts) / 1e9)
        axes.set_xlabel(f"parameters (billions); together {total:,}")
    return made
