"""Figures of lesson 03: from logits to a loss, what context is worth, and neighbours in meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from llama_course.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    SMALLEST_TEXT,
    VERMILION,
    figure,
)

LINES = ("--", "-.", ":")
COLOURS = (VERMILION, GREEN, PURPLE)


def logits_to_loss(
    names: Sequence[str],
    logits: Sequence[float],
    probabilities: Sequence[float],
    surprise: Sequence[float],
    right: int,
) -> Figure:
    """One place of a text: logits, what softmax makes of them, and what each token would cost.

    The tokens stand from top to bottom; `right` is the one that really follows, hatched and bold.
    Logits and surprises are in nats.
    """
    if not 0 <= right < len(names):
        raise ValueError(f"right must be one of {len(names)} tokens, found {right}")
    places = np.arange(len(names))
    panels = (
        (logits, "logit", "logits", SKY, "{:.1f}"),
        (probabilities, "probability", "softmax", BLUE, "{:.2f}"),
        (surprise, "-ln p (nats)", "cost if it comes", ORANGE, "{:.1f}"),
    )
    with figure(7.4, 0.9 + 0.33 * len(names)) as (made, axes):
        axes.remove()
        for place, (values, unit, title, colour, words) in enumerate(panels):
            panel = made.add_subplot(1, 3, place + 1)
            bars = panel.barh(places, values, color=colour, edgecolor=GREY, height=0.72)
            bars[right].set(hatch="///", edgecolor=BLACK, linewidth=1.8)
            panel.bar_label(bars, [words.format(v) for v in values], padding=3, fontsize=9)
            panel.set_yticks(places, names if place == 0 else [""] * len(names))
            panel.tick_params(axis="y", length=0)
            panel.invert_yaxis()
            panel.margins(x=0.25)
            panel.grid(visible=False, axis="y")
            panel.set_xlabel(unit)
            panel.set_title(title, loc="left")
            if min(values) < 0:
                panel.axvline(0, color=BLACK, linewidth=0.8)
        made.axes[0].get_yticklabels()[right].set_fontweight("bold")
    return made


def loss_by_context(
    groups: Sequence[str],
    means: Sequence[float],
    errors: Sequence[float],
    levels: Mapping[str, float],
) -> Figure:
    """The mean loss against how many tokens the model has read, with bars of two standard errors.

    `levels` are losses to compare with, by name: horizontal lines.
    """
    places = np.arange(len(groups))
    with figure(6.8, 4.0) as (made, axes):
        for (name, level), colour, line in zip(levels.items(), COLOURS, LINES, strict=False):
            axes.axhline(level, color=colour, linestyle=line, linewidth=1.8)
            at = (len(groups) - 0.6, level)
            axes.annotate(
                f"{name}: {level:.2f}", at, (0, 4), textcoords="offset points", ha="right",
                color=BLACK,
            )  # fmt: skip
        axes.errorbar(
            *(places, means),
            yerr=2 * np.asarray(errors),
            color=BLUE,
            marker="o",
            linewidth=2.0,
            capsize=4,
            label="the trained toy (bar: two standard errors)",
        )
        axes.set_xticks(places, groups)
        axes.set_xlim(-0.5, len(groups) - 0.5)
        axes.set_ylim(0, max(*levels.values(), *means) * 1.12)
        axes.set_xlabel("tokens that the model has read")
        axes.set_ylabel("loss (nats per token)")
        axes.set_title("What context is worth", loc="left")
        axes.legend(loc="lower left")
    return made


def cosines(groups: Mapping[str, Sequence[str]], matrix: Sequence[Sequence[float]]) -> Figure:
    """The cosine of every two vectors, as a square; the tokens stand in the order of `groups`.

    Light is alike. Lines part the groups, whose names stand on the right.
    """
    names = [name for group in groups.values() for name in group]
    values = np.asarray(matrix, dtype=float)
    if values.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} tokens need a square matrix, found {values.shape}")
    with figure(6.6, 5.6) as (made, axes):
        # The diagonal, each with itself, is 1 by definition and would set the scale.
        shown = np.ma.masked_array(values, mask=np.eye(len(names), dtype=bool))
        image = axes.imshow(shown, cmap="cividis", vmin=min(0.0, values.min()))
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=SMALLEST_TEXT)
        axes.set_yticks(range(len(names)), names, fontsize=SMALLEST_TEXT)
        axes.grid(visible=False)
        start = 0
        for title, group in groups.items():
            end = start + len(group)
            if end < len(names):
                axes.axhline(end - 0.5, color="white", linewidth=2.0)
                axes.axvline(end - 0.5, color="white", linewidth=2.0)
            axes.text(len(names) - 0.2, (start + end - 1) / 2, title, va="center")
            start = end
        bar = made.colorbar(image, ax=axes, location="bottom", shrink=0.6, aspect=30)
        bar.set_label("cosine of two embeddings")
    return made
