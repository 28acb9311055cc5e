"""Figures of lesson 05: where RoPE stands, scores by distance, two layouts, what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Arc
from matplotlib.ticker import FuncFormatter

from llama_course.plots.diagram import arrow, box, frame
from llama_course.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    SKY,
    VERMILION,
    figure,
)

LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
COLOURS = (BLUE, VERMILION, GREEN, PURPLE)
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def where_rope(n_layers: int, n_heads: int, n_kv_heads: int) -> Figure:
    """One attention layer from left to right, with the two places that RoPE turns lit."""
    if min(n_layers, n_heads, n_kv_heads) < 1:
        raise ValueError("a model has at least one layer and one head")
    with figure(7.4, 3.1) as (made, axes):
        axes.set_axis_off()
        axes.set_xlim(0, 15.6)
        axes.set_ylim(-3.5, 3.4)
        arrow(axes, (0.1, 0), (0.55, 0))
        box(axes, 1.1, 0, "norm")
        for y, name in ((1.9, "wq"), (0.0, "wk"), (-1.9, "wv")):
            arrow(axes, (1.7, 0), (2.95, y))
            box(axes, 3.4, y, name)
        for y, name, end in ((1.9, "q", 1.3), (0.0, "k", 0.6)):
            arrow(axes, (3.85, y), (4.95, y))
            box(axes, 5.6, y, "RoPE", lit=True)
            arrow(axes, (6.25, y), (8.25, end))
            axes.text(7.2, (y + end) / 2 + 0.35, name, ha="center", style="italic")
        arrow(axes, (3.85, -1.9), (10.5, -1.9))
        axes.text(7.2, -1.65, "v", ha="center", style="italic")
        box(axes, 8.9, 0.95, "scores\nq · k")
        arrow(axes, (9.5, 0.95), (10.55, 0.95))
        box(axes, 11.35, 0.95, "softmax")
        arrow(axes, (11.35, 0.55), (11.35, -1.45))
        box(axes, 11.35, -1.9, "mix of v")
        arrow(axes, (12.2, -1.9), (13.25, -1.9))
        box(axes, 13.7, -1.9, "wo")
        arrow(axes, (14.1, -1.9), (15.4, -1.9))
        frame(axes, 0.3, -2.65, 14.35, 5.35)
        axes.text(
            0.4,
            2.95,
            f"one attention layer; there are {n_layers}, of {n_heads} query and {n_kv_heads} key "
            "heads",
            color=GREY,
        )
        axes.text(
            0.4,
            -3.4,
            "lit: queries and keys are turned by their positions; values are not",
            weight="bold",
        )
    return made


def one_curve(curves: Mapping[int, Sequence[float]]) -> Figure:
    """Scores of a query with a key at every position: against the position, and the distance.

    `curves` has for each position of the query the scores with keys at positions 0, 1, 2, ...
    """
    with figure(7.4, 3.3) as (made, left):
        left.remove()
        left, right = made.subplots(1, 2, sharey=True)
        for number, (position, scores) in enumerate(curves.items()):
            keys = np.arange(len(scores))
            look = {
                "color": COLOURS[number],
                "linestyle": LINES[number],
                "linewidth": (2.6, 1.8, 1.4)[number % 3],
                "label": f"query at {position}",
            }
            left.plot(keys, scores, **look)
            left.plot([position], [scores[position]], marker=MARKERS[number], color=COLOURS[number])
            right.plot(position - keys, scores, **look)
        shortest = max(curves)
        right.set_xlim(min(curves), -(len(curves[shortest]) - 1 - shortest))
        right.axvline(0, color=GREY, linewidth=0.8)
        left.set_xlabel("position of the key")
        left.set_ylabel("score q · k")
        right.set_xlabel("distance: query minus key (positions)")
        left.set_title("three curves (marker: the query itself)", loc="left")
        right.set_title("... that are one curve", loc="left")
        left.legend(loc="upper right")
        low, high = left.get_ylim()
        left.set_ylim(low, high + 0.32 * (high - low))
    return made


def layouts(head_dim: int) -> Figure:
    """The partners of every pair in a head, in Meta's layout and in Hugging Face's."""
    if head_dim < 2 or head_dim % 2:
        raise ValueError(f"a head has an even number of components, found {head_dim}")
    half = head_dim // 2
    with figure(7.4, 3.4) as (made, axes):
        axes.set_axis_off()
        axes.set_xlim(-0.8, head_dim - 0.2)
        axes.set_ylim(-1.3, 5.0)
        axes.grid(False)
        rows = (
            (3.1, "Meta: neighbours", [(2 * i, 2 * i + 1) for i in range(half)], 1.1),
            (0.0, "Hugging Face: first half and second half", None, 1.6),
        )
        for base, title, neighbours, height in rows:
            pairs = neighbours or [(i, i + half) for i in range(half)]
            axes.text(-0.5, base + height, title, weight="bold", va="bottom")
            for i, (a, b) in enumerate(pairs):
                colour, line = COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]
                arc = Arc(
                    ((a + b) / 2, base + 0.32), b - a, 2 * (0.45 if neighbours else 0.9),
                    theta1=0, theta2=180, color=colour, linestyle=line, linewidth=2.0,
                )  # fmt: skip
                axes.add_patch(arc)
                for place, row in ((a, 2 * i), (b, 2 * i + 1)):
                    look = {
                        "boxstyle": "round,pad=0.4",
                        "facecolor": "white",
                        "edgecolor": colour,
                        "linewidth": 2.0,
                        "linestyle": line,
                    }
                    axes.text(place, base, f"{row}", ha="center", va="center", bbox=look)
        axes.text(
            -0.5,
            -1.2,
            "The number in a box is the row in Meta's file. Same arc: one pair, one frequency.",
            color=GREY,
        )
    return made


def forgotten(
    extra: Mapping[str, Sequence[float]], survived: Mapping[str, Sequence[float]]
) -> Figure:
    """A mistake token by token: extra loss by position, and the share of texts still unchanged.

    `extra` gives the loss beyond the right model's, in nats, at positions 0, 1, 2, ...;
    `survived` the share of greedy texts that equal the right model's after 1, 2, ... tokens.
    """
    with figure(7.4, 3.3) as (made, left):
        left.remove()
        left, right = made.subplots(1, 2)
        for number, (name, values) in enumerate(survived.items()):
            steps = np.arange(len(values) + 1)
            shares = 100 * np.array([1.0, *values])
            left.step(
                *(steps, shares),
                where="post",
                color=COLOURS[number],
                linestyle=LINES[number],
                linewidth=2.0,
                label=name,
            )
        for number, (name, values) in enumerate(extra.items()):
            edges = _edges(len(values))
            places = [(a + b - 1) / 2 + 1 for a, b in pairwise(edges)]
            means = [float(np.mean(values[a:b])) for a, b in pairwise(edges)]
            right.plot(
                *(places, means),
                color=COLOURS[number],
                linestyle=LINES[number],
                marker=MARKERS[number],
                linewidth=1.8,
                label=name,
            )
        left.set_xlabel("tokens written")
        left.set_ylabel("texts still like the right one (%)")
        left.set_title("greedy text from one token", loc="left")
        left.set_ylim(0, 104)
        right.set_xscale("log", base=2)
        right.xaxis.set_major_formatter(THOUSANDS)
        right.axhline(0, color=GREY, linewidth=0.8)
        right.set_xlabel("tokens read (log scale)")
        right.set_ylabel("extra loss (nats per token)")
        right.set_title("loss on held-back text", loc="left")
        right.legend(loc="upper left")
    return made


def _edges(length: int) -> list[int]:
    """0, 1, 2, 4, 8, ... up to `length`: bins of equal width on a logarithmic axis."""
    edges = [0, 1]
    while edges[-1] * 2 < length:
        edges.append(edges[-1] * 2)
    return [*edges, length]


def loss_by_shift(shifts: Sequence[int], losses: Mapping[str, Sequence[float]]) -> Figure:
    """The loss of a model whose positions all begin later, one line per way of computing angles."""
    with figure(6.4, 3.4) as (made, axes):
        places = np.arange(len(shifts))
        for number, (name, values) in enumerate(losses.items()):
            axes.plot(
                *(places, values),
                color=COLOURS[number],
                linestyle=LINES[number],
                marker=MARKERS[number],
                markersize=(9, 5, 6, 6)[number],
                markerfacecolor="none" if number == 0 else COLOURS[number],
                linewidth=1.8,
                label=name,
            )
        axes.set_xticks(places, [f"{shift:,}" for shift in shifts])
        axes.set_xlabel("position of the first token (not to scale)")
        axes.set_ylabel("loss (nats per token)")
        axes.legend(loc="upper left")
    return made


def wavelengths(tables: Mapping[str, Sequence[float]], context: int) -> Figure:
    """How many positions each pair needs for a full turn, beside the length of the context."""
    with figure(6.4, 3.6) as (made, axes):
        for number, (name, values) in enumerate(tables.items()):
            axes.plot(
                range(len(values)),
                values,
                color=COLOURS[number],
                linestyle="none",
                marker=MARKERS[number],
                markersize=3.6,
                label=name,
            )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(THOUSANDS)
        axes.axhline(context, color=BLACK, linestyle="--", linewidth=1.2)
        axes.text(0, context * 1.2, f"context: {context:,}", va="bottom")
        first = next(iter(tables.values()))
        slow = next((i for i, length in enumerate(first) if length > context), len(first))
        axes.axvspan(slow - 0.5, len(first) - 0.5, color=SKY, alpha=0.15, linewidth=0)
        axes.text(
            slow,
            min(first) * 1.1,
            f"pairs {slow} to {len(first) - 1} of\n{next(iter(tables))}:\nless than one turn",
            va="bottom",
        )
        axes.set_xlabel("pair")
        axes.set_ylabel("positions for one full turn (log scale)")
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.0))
    return made
