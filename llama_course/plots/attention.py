"""Figures of lesson 06: masks, heads of a trained model, the scale, reach, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter

from llama_course.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    SKY,
    SMALLEST_TEXT,
    VERMILION,
    figure,
)

LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
COLOURS = (BLUE, VERMILION, GREEN, BLACK)
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
PLAIN = FuncFormatter(lambda value, _: f"{value:,g}")
# From white through blue to black: more weight is darker, also in black and white.
WEIGHT = LinearSegmentedColormap.from_list("weight", ["white", SKY, BLUE, BLACK])

Mask = Sequence[Sequence[bool]]


def masks(panels: Mapping[str, tuple[Sequence[int], Sequence[int], Mask]]) -> Figure:
    """Several masks side by side: rows are queries, columns keys, and a cross means "may look".

    Each panel has the positions of its queries and of its keys, and the mask itself.
    """
    rows = max(len(queries) for queries, _, _ in panels.values())
    widths = [len(keys) for _, keys, _ in panels.values()]
    with figure(1.2 + 0.3 * (sum(widths) + 1.2 * len(widths)), 1.05 + 0.3 * rows) as (made, axes):
        axes.remove()
        drawn = made.subplots(1, len(panels), width_ratios=widths, squeeze=False)[0]
        for axes, (name, (queries, keys, mask)) in zip(drawn, panels.items(), strict=True):
            for i, row in enumerate(mask):
                for j, sees in enumerate(row):
                    axes.add_patch(_cell(j, i, sees))
                    if sees:
                        axes.plot([j], [i], marker="x", color="white", markersize=5)
            axes.set_xlim(-0.55, len(keys) - 0.45)
            axes.set_ylim(rows - 0.45, -0.55)
            axes.set_aspect("equal")
            axes.set_anchor("N")
            axes.grid(False)
            for side in ("left", "bottom"):
                axes.spines[side].set_visible(False)
            axes.tick_params(length=0)
            axes.set_xticks(range(len(keys)), [str(n) for n in keys])
            axes.set_yticks(range(len(queries)), [str(m) for m in queries])
            axes.xaxis.tick_top()
            axes.xaxis.set_label_position("top")
            axes.set_xlabel("position of the key")
            axes.set_title(name, pad=8)
        drawn[0].set_ylabel("position of the query")
    return made


def _cell(x: float, y: float, sees: bool) -> Rectangle:
    colour = BLUE if sees else "white"
    corner = (x - 0.5, y - 0.5)
    return Rectangle(corner, 1, 1, facecolor=colour, edgecolor=GREY, linewidth=0.5)


def head_maps(tokens: Sequence[str], maps: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """What each token of a text looks at, in several heads: one map for each.

    `tokens` are the labels; `maps` has for each head the weights, a row for each query. A ring
    marks the largest weight of each row.
    """
    n = len(tokens)
    with figure(7.4, 0.95 + 7.4 / len(maps) * 0.92) as (made, axes):
        axes.remove()
        drawn = made.subplots(1, len(maps), sharey=True, squeeze=False)[0]
        for axes, (name, weights) in zip(drawn, maps.items(), strict=True):
            table = np.asarray(weights, dtype=float)
            if table.shape != (n, n):
                raise ValueError(f"{name}: {n} tokens need ({n}, {n}) weights, not {table.shape}")
            image = axes.imshow(table, cmap=WEIGHT, vmin=0, vmax=1, interpolation="nearest")
            best = table.argmax(axis=1)
            dark = table.max(axis=1) > 0.55
            for shade, colour in ((dark, "white"), (~dark, BLACK)):
                axes.plot(
                    *(best[shade], np.arange(n)[shade]),
                    linestyle="none",
                    marker="o",
                    markersize=2.6,
                    markerfacecolor="none",
                    markeredgecolor=colour,
                    markeredgewidth=0.8,
                )
            axes.set_xticks(range(n), tokens, rotation=90)
            axes.set_yticks(range(n), tokens)
            axes.tick_params(length=0, pad=3)
            axes.grid(False)
            axes.set_title(name, fontsize=10)
            axes.set_xlabel("looked at (key)")
        drawn[0].set_ylabel("looking (query)")
        bar = made.colorbar(image, ax=list(drawn), shrink=0.62, pad=0.01, aspect=18)
        bar.set_label("weight (ring: the largest of a row)", size=SMALLEST_TEXT)
    return made


def scale(
    widths: Sequence[int],
    seen: Mapping[str, Sequence[float]],
    typical: Mapping[str, Sequence[float]],
    keys: int,
) -> Figure:
    """What the scale does, against the width of a head.

    `seen`: over how many keys the weights are spread (e to the power of their entropy).
    `typical`: the weight of the key in the middle, which is also its share of the gradient.
    """
    with figure(7.4, 3.4) as (made, left):
        left.remove()
        left, right = made.subplots(1, 2)
        for axes, curves in ((left, seen), (right, typical)):
            for number, (name, values) in enumerate(curves.items()):
                axes.plot(
                    *(widths, values),
                    color=COLOURS[number],
                    linestyle=LINES[number],
                    marker=MARKERS[number],
                    linewidth=1.8,
                    label=name,
                )
            axes.set_xscale("log", base=2)
            axes.set_xticks(widths, [str(w) for w in widths])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel("components of a head (log scale)")
        left.axhline(keys, color=GREY, linewidth=1.0, linestyle=":")
        left.text(widths[0], keys, f"all {keys} keys alike", va="bottom", color=GREY)
        left.set_ylim(0, keys * 1.15)
        left.set_ylabel("keys that share the weight")
        left.set_title("how many keys count", loc="left")
        right.set_yscale("log")
        right.set_ylabel("weight (log scale)")
        right.set_title("weight of the middle key", loc="left")
        right.legend(loc="lower left")
    return made


def reach(curves: Mapping[str, Sequence[float]], floor: float = 1e-12) -> Figure:
    """How strongly the last output depends on an input 0, 1, 2, ... tokens before it.

    What is smaller than `floor` is left out of the picture.
    """
    with figure(6.4, 3.4) as (made, axes):
        for number, (name, values) in enumerate(curves.items()):
            shown = np.where(np.asarray(values, dtype=float) < floor, np.nan, values)
            axes.plot(
                range(len(shown)),
                shown,
                color=COLOURS[number],
                linestyle=LINES[number],
                linewidth=2.0,
                label=name,
            )
        axes.set_yscale("log")
        axes.set_ylim(floor, 10)
        axes.set_xlabel("distance of the input from the last output (tokens)")
        axes.set_ylabel("size of the gradient (log scale)")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.12))
    return made


def measured(
    lengths: Sequence[int], seconds: Mapping[str, Mapping[str, Sequence[float]]]
) -> Figure:
    """Recorded times of layers against the length of the text, one panel for each kind of run."""
    with figure(7.4, 3.3) as (made, axes):
        axes.remove()
        drawn = made.subplots(1, len(seconds), sharey=True, squeeze=False)[0]
        for axes, (kind, curves) in zip(drawn, seconds.items(), strict=True):
            for number, (name, values) in enumerate(curves.items()):
                axes.plot(
                    *(lengths, values),
                    color=COLOURS[number],
                    linestyle=LINES[number],
                    marker=MARKERS[number],
                    linewidth=1.8,
                    label=name,
                )
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(lengths, [f"{n:,}" for n in lengths], rotation=45)
            axes.yaxis.set_major_formatter(PLAIN)
            axes.set_xlabel("tokens (log scale)")
            axes.set_title(kind, loc="left")
        drawn[0].set_ylabel("seconds (log scale)")
        drawn[0].legend(loc="upper left")
    return made


def cost_by_context(
    contexts: Sequence[int], work: Mapping[str, Sequence[float]], marks: Mapping[str, int]
) -> Figure:
    """Operations per token of one layer's parts, against the length of the context.

    `marks` are lengths to point out, such as the one that the model was trained with.
    """
    with figure(6.6, 3.7) as (made, axes):
        for number, (name, values) in enumerate(work.items()):
            axes.plot(
                *(contexts, [v / 1e6 for v in values]),
                color=COLOURS[number],
                linestyle=LINES[number],
                linewidth=2.0,
                label=name,
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(contexts[::2], [f"{n:,}" for n in contexts[::2]])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(THOUSANDS)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * 4)
        for name, place in marks.items():
            axes.axvline(place, color=GREY, linewidth=1.0, linestyle=":")
            _note(axes, place, low, name)
        axes.set_xlabel("tokens of context (log scale)")
        axes.set_ylabel("million operations per token,\none layer (log scale)")
        axes.legend(loc="upper left")
    return made


def _note(axes: Axes, x: float, y: float, text: str) -> None:
    """Words beside a vertical line, at its foot."""
    axes.annotate(
        text,
        (x, y),
        (4, 4),
        textcoords="offset points",
        color=GREY,
        size=SMALLEST_TEXT,
        va="bottom",
    )
