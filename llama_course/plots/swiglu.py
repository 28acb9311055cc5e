"""Figures of lesson 08: SiLU beside its relatives, and gates that open for a kind of token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from llama_course.plots.style import BLACK, BLUE, GREEN, GREY, SMALLEST_TEXT, VERMILION, figure

LINES = ("-", "--", "-.")
COLOURS = (BLUE, VERMILION, GREEN)


def activations(
    z: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    slopes: Mapping[str, Sequence[float]],
) -> Figure:
    """Activation functions on the left, their slopes on the right; the first is drawn boldest."""
    with figure(7.4, 3.4) as (made, axes):
        axes.remove()
        sides = ((curves, "value", "the function"), (slopes, "slope", "its slope"))
        for place, (lines, unit, title) in enumerate(sides):
            panel = made.add_subplot(1, 2, place + 1)
            panel.axhline(0, color=GREY, linewidth=0.8)
            for (name, values), colour, line in zip(lines.items(), COLOURS, LINES, strict=False):
                bold = 2.6 if name == next(iter(lines)) else 1.7
                panel.plot(z, values, color=colour, linestyle=line, linewidth=bold, label=name)
            panel.set_xlabel("z")
            panel.set_ylabel(unit)
            panel.set_title(title, loc="left")
        made.axes[0].legend(loc="upper left")
    return made


def gates(
    tokens: Sequence[str],
    units: Sequence[str],
    values: Sequence[Sequence[float]],
    members: Sequence[Sequence[bool]],
) -> Figure:
    """How far some gates are open, for the tokens of a passage: light is open, dark is closed.

    `values` has a row for each of `units`, and a column for each token: the gate, silu of w1 x,
    over its largest value in the row. A dot says that the token is of the kind that the unit was
    chosen for.
    """
    shown = np.asarray(values, dtype=float)
    if shown.shape != (len(units), len(tokens)):
        raise ValueError(
            f"{len(units)} units and {len(tokens)} tokens do not fit values of shape {shown.shape}"
        )
    with figure(7.6, 1.5 + 0.42 * len(units)) as (made, axes):
        image = axes.imshow(np.clip(shown, 0, 1), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=SMALLEST_TEXT)
        axes.set_yticks(range(len(units)), units)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for row in range(1, len(units)):
            axes.axhline(row - 0.5, color="white", linewidth=3.0)
        for row, kinds in enumerate(members):
            at = [i for i, kind in enumerate(kinds) if kind]
            axes.plot(
                *(at, [row] * len(at)),
                linestyle="none",
                marker="o",
                markersize=5,
                color="white",
                markeredgecolor=BLACK,
            )
        bar = made.colorbar(image, ax=axes, shrink=0.9, pad=0.015)
        bar.set_label("gate / its largest")
    return made
