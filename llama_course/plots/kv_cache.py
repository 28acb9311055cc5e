"""Figures of lesson 07: work with and without a cache, the mask in three calls, drift, bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

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

LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
COLOURS = (BLUE, VERMILION, GREEN, PURPLE)
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def work(rows: Mapping[str, Sequence[int]]) -> Figure:
    """Tokens sent through the matrices, in total, after 1, 2, 3, ... tokens were written."""
    with figure(6.4, 3.4) as (made, axes):
        for number, (name, totals) in enumerate(rows.items()):
            steps = range(1, len(totals) + 1)
            axes.plot(
                *(steps, totals),
                color=COLOURS[number],
                linestyle=LINES[number],
                linewidth=2.0,
                label=name,
            )
            axes.annotate(
                f"{totals[-1]:,}",
                (len(totals), totals[-1]),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_xlim(0, 1.13 * max(len(totals) for totals in rows.values()))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(THOUSANDS)
        axes.set_xlabel("tokens written")
        axes.set_ylabel("tokens sent through the matrices")
        axes.legend(loc="upper left")
    return made


def masks(panels: Mapping[str, Bool[Tensor, "q_len k_len"]]) -> Figure:
    """Who sees whom in several calls of one text; the last query of each stands at the last key.

    A key that the call brings itself is marked by a dot where it is seen, an older one by a ring.
    """
    keys = max(mask.shape[1] for mask in panels.values())
    if any(mask.shape[1] != keys or mask.shape[0] > keys for mask in panels.values()):
        raise ValueError("all panels show the same keys, and at most one query for each")
    with figure(7.6, 3.55) as (made, first):
        first.remove()
        for axes, (title, mask) in zip(
            made.subplots(1, len(panels), sharex=True, sharey=True), panels.items(), strict=True
        ):
            _mask(axes, mask)
            axes.set_title(title, loc="left")
            axes.set_xlabel("position of the key")
        made.axes[0].set_ylabel("position of the query")
        made.supxlabel(
            "filled: the query may look there.   ring: a key from the cache.   "
            "dot: a key that this call brings.",
            size=9.5,
            x=0.01,
            ha="left",
        )
    return made


def _mask(axes: Axes, mask: Bool[Tensor, "q_len k_len"]) -> None:
    queries, keys = mask.shape
    old = keys - queries  # what was read before
    axes.set_xlim(-0.55, keys - 0.45)
    axes.set_ylim(keys - 0.45, -0.55)
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xticks(range(keys))
    axes.set_yticks(range(keys))
    if old > 1:
        words = f"queries 0 to {old - 1}:\nanswered before"
        axes.text((keys - 1) / 2, (old - 1) / 2, words, ha="center", va="center", color=GREY)
    for row in range(queries):
        for key in range(keys):
            seen = bool(mask[row, key])
            axes.add_patch(
                Rectangle(
                    (key - 0.5, old + row - 0.5),
                    *(1, 1),
                    facecolor=(SKY if key < old else ORANGE) if seen else "white",
                    edgecolor=GREY,
                    linewidth=0.8,
                )
            )
            if seen:
                axes.plot(
                    *(key, old + row),
                    marker="o",
                    markersize=5,
                    color=BLACK,
                    markerfacecolor="none" if key < old else BLACK,
                )


def rows_of_unequal_length(masks: Bool[Tensor, "batch q_len k_len"], lengths: list[int]) -> Figure:
    """One step in a batch: each row's new token, the slots that it sees and those that are empty.

    `lengths` counts each row's tokens, the new one included. One query a row.
    """
    batch, queries, keys = masks.shape
    if queries != 1 or len(lengths) != batch:
        raise ValueError("one query and one length for each row")
    with figure(6.4, 1.0 + 0.45 * batch) as (made, axes):
        axes.set_xlim(-0.55, keys - 0.45)
        axes.set_ylim(batch - 0.45, -0.55)
        axes.grid(False)
        axes.set_xticks(range(keys))
        axes.set_yticks(range(batch), [f"row {row}" for row in range(batch)])
        for row in range(batch):
            for key in range(keys):
                seen, held = bool(masks[row, 0, key]), key < lengths[row]
                axes.add_patch(
                    Rectangle(
                        (key - 0.5, row - 0.5),
                        *(1, 1),
                        facecolor=SKY if seen else "white",
                        edgecolor=GREY,
                        linewidth=0.8,
                        hatch="" if held else "///",
                    )
                )
                if seen:
                    newest = key == lengths[row] - 1
                    axes.plot(
                        *(key, row),
                        marker="o",
                        markersize=6,
                        color=BLACK,
                        markerfacecolor=BLACK if newest else "none",
                    )
        axes.set_xlabel("slot   (ring: seen, dot: the new token itself, hatched: empty)")
    return made


def drift(survived: Mapping[str, Sequence[float]]) -> Figure:
    """The share of texts that still equal the right ones after 1, 2, 3, ... tokens."""
    with figure(6.6, 3.4) as (made, axes):
        for number, (name, shares) in enumerate(survived.items()):
            axes.plot(
                range(1, len(shares) + 1),
                [100 * share for share in shares],
                color=COLOURS[number],
                linestyle=LINES[number],
                marker=MARKERS[number],
                markersize=5,
                linewidth=1.8,
                label=name,
            )
        axes.set_xlabel("tokens written")
        axes.set_ylabel("texts equal to the right one (%)")
        axes.set_ylim(-3, 104)
        axes.legend(loc="upper right")
    return made


def cache_size(
    contexts: Sequence[int], gib: Mapping[str, Sequence[float]], memory: Mapping[str, float]
) -> Figure:
    """The bytes of one row's cache against its length, and memories as horizontal lines (GiB)."""
    with figure(7.0, 4.0) as (made, axes):
        for number, (name, sizes) in enumerate(gib.items()):
            axes.plot(
                *(contexts, sizes),
                color=COLOURS[number],
                linestyle=LINES[number],
                marker=MARKERS[number],
                markersize=4.5,
                linewidth=1.8,
                label=name,
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.set_xticks(list(contexts))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        for number, (name, size) in enumerate(memory.items()):
            axes.axhline(size, color=BLACK, linestyle=("-", (0, (6, 3)))[number % 2], linewidth=1.0)
            axes.annotate(
                f"{name}: {size:,.4g} GiB",
                (contexts[0], size),
                xytext=(0, 3),
                textcoords="offset points",
                va="bottom",
            )
        axes.set_xlabel("tokens in the cache (log scale)")
        axes.set_ylabel("cache of one text (GiB, log scale)")
        axes.legend(loc="lower right")
    return made
