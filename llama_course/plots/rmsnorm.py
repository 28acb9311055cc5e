"""Figures of lesson 04: where the norms stand, where epsilon bends, and what rounding does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from llama_course.plots.diagram import arrow, box, frame, plus
from llama_course.plots.style import BLACK, BLUE, GREEN, GREY, PURPLE, VERMILION, figure

LINES = ("-", "--", "-.", ":")
COLOURS = (BLUE, VERMILION, GREEN, PURPLE)


def where_norms(n_layers: int) -> Figure:
    """LLaMA from token ids to logits, read from left to right, with its norms lit.

    The line in the middle is the residual stream; the dashed frame is one block of `n_layers`.
    """
    if n_layers < 1:
        raise ValueError(f"a model has at least one block, found n_layers={n_layers}")
    with figure(7.4, 2.9) as (made, axes):
        axes.set_axis_off()
        axes.set_xlim(0, 15.6)
        axes.set_ylim(-2.6, 3.4)
        arrow(axes, (0.2, 0), (15.4, 0), width=1.6)
        box(axes, 1.2, 0, "embed")
        for x, layer in ((4.0, "attention"), (8.6, "feed-\nforward")):
            # Off the stream, through norm and layer, and back onto it.
            arrow(axes, (x - 0.95, 0), (x - 0.95, 1.5), head=False)
            arrow(axes, (x - 0.95, 1.5), (x + 3.05, 1.5), head=False)
            arrow(axes, (x + 3.05, 1.5), (x + 3.05, 0.28))
            box(axes, x, 1.5, "norm", lit=True)
            box(axes, x + 1.9, 1.5, layer)
            plus(axes, x + 3.05, 0)
        frame(axes, 2.6, -0.75, 9.5, 3.2)
        axes.text(7.35, 2.75, f"one block; there are {n_layers}", ha="center", color=GREY, size=10)
        box(axes, 13.0, 0, "norm", lit=True)
        box(axes, 14.6, 0, "head")
        axes.text(0.2, -1.6, "the line: the residual stream, one vector per token", color=GREY)
        axes.text(
            0.2,
            -2.4,
            f"lit: {2 * n_layers + 1} norms = 2 in each of {n_layers} blocks + 1 before the head",
            color=BLACK,
            weight="bold",
        )
    return made


def epsilon_bend(inputs: Sequence[float], outputs: Mapping[float, Sequence[float]]) -> Figure:
    """The root mean square of a norm's output against that of its input, one line per epsilon.

    Both axes are logarithmic. A dot stands at sqrt(epsilon), where the output is 1 / sqrt(2).
    """
    with figure(6.4, 4.0) as (made, axes):
        axes.axhline(1.0, color=GREY, linewidth=0.9)
        for (eps, values), colour, line in zip(outputs.items(), COLOURS, LINES, strict=False):
            label = f"eps = {eps:g}"
            axes.plot(inputs, values, color=colour, linestyle=line, linewidth=2.0, label=label)
            if eps > 0:
                axes.plot(
                    *([eps**0.5], [0.5**0.5]), marker="o", color=colour, markeredgecolor=BLACK
                )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("root mean square of the input")
        axes.set_ylabel("root mean square of the output")
        axes.set_title("Length does not matter, until epsilon is as large", loc="left")
        axes.legend(loc="lower right", title="dot: input = sqrt(eps)")
    return made


def stream_by_layer(
    names: Sequence[str], stream: Sequence[Sequence[float]], normed: Sequence[Sequence[float]]
) -> Figure:
    """The size of the residual stream at each norm, and of what comes out of that norm.

    For each norm in `names` there are the root mean squares of many tokens' vectors: a marker is
    their median, a bar reaches from the smallest to the largest. The vertical axis is logarithmic.
    """
    places = np.arange(len(names))
    rows = (
        (stream, "before the norm: the stream", VERMILION, "o", "-", -0.08),
        (normed, "after the norm: what is read", BLUE, "s", "--", 0.08),
    )
    with figure(6.8, 4.2) as (made, axes):
        for values, label, colour, marker, line, shift in rows:
            middle = np.array([np.median(v) for v in values])
            low = middle - np.array([np.min(v) for v in values])
            high = np.array([np.max(v) for v in values]) - middle
            axes.errorbar(
                places + shift,
                middle,
                yerr=np.stack([low, high]),
                color=colour,
                marker=marker,
                linestyle=line,
                linewidth=1.6,
                capsize=3,
                label=label,
            )
        axes.set_yscale("log")
        axes.set_xticks(places, names, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_ylabel("root mean square (log scale)")
        axes.set_title("What a layer reads does not follow the stream", loc="left")
        title = "marker: median token, bar: smallest to largest"
        made.legend(loc="outside lower center", title=title, ncols=2)  # covers no data
    return made


def cast_orders(errors: Mapping[str, Sequence[float]]) -> Figure:
    """How far results lie from the exact value, in units of the last place: a panel per way."""
    names = list(errors)
    edges = np.arange(-1.625, 1.63, 0.125)
    with figure(6.4, 1.5 + 1.25 * len(names)) as (made, axes):
        axes.remove()
        panels = made.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for panel, name, colour, hatch in zip(
            panels, names, COLOURS, ("", "//", "..", "xx"), strict=False
        ):
            values = np.asarray(errors[name], dtype=float)
            share = np.full(len(values), 100 / len(values))
            panel.hist(values, edges, weights=share, color=colour, hatch=hatch, edgecolor="white")
            for edge in (-0.5, 0.5):
                panel.axvline(edge, color=BLACK, linestyle="--", linewidth=1.0)
            panel.set_title(name, loc="left", fontsize=10)
            panel.set_ylabel("results (%)")
        panels[-1].set_xlabel(
            "distance from the exact value (units in the last place of bfloat16)\n"
            "between the dashed lines: the nearest bfloat16 number was found"
        )
    return made
