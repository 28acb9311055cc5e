"""Figures for the mathematics: rotation, softmax, a gradient's check, a mean of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Arc

from llama_course.plots.style import BLUE, GREY, PALETTE, SKY, VERMILION, figure

MARKERS = ("o", "s", "^", "D")
LINES = ("-", "--", ":", "-.")


def rotation(before: Sequence[float], after: Sequence[float]) -> Figure:
    """A vector in the plane, and the same vector rotated about the origin."""
    with figure(4.8, 3.4) as (made, axes):
        size = math.hypot(*before)
        full = np.linspace(0, 2 * np.pi, 200)
        axes.plot(
            size * np.cos(full), size * np.sin(full), color=GREY, linewidth=0.8, linestyle=":"
        )
        ends = ((before, BLUE, "-", "before"), (after, VERMILION, "--", "after"))
        for (x, y), colour, dashes, name in ends:
            axes.annotate(
                "",
                xy=(x, y),
                xytext=(0, 0),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": colour,
                    "linestyle": dashes,
                    "linewidth": 2.0,
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
            )
            label = f"{name}\n({x:.2f}, {y:.2f})"
            right = x >= 0
            axes.annotate(
                label,
                (x, y),
                xytext=(6 if right else -6, 4),
                textcoords="offset points",
                color=colour,
                ha="left" if right else "right",
                va="bottom" if y >= 0 else "top",
            )
        begin, end = (float(np.degrees(np.arctan2(v[1], v[0]))) for v in (before, after))
        arc = Arc(
            (0, 0), size * 0.7, size * 0.7, theta1=begin, theta2=end, color=GREY, linewidth=1.2
        )
        axes.add_patch(arc)
        middle = np.radians(begin + ((end - begin) % 360) / 2)
        axes.text(
            *(size * 0.48 * np.cos(middle), size * 0.48 * np.sin(middle)),
            f"{(end - begin) % 360:.0f}°",
            ha="center",
            va="center",
        )
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.axvline(0, color=GREY, linewidth=0.8)
        reach = size * 1.3
        axes.set(
            xlim=(-reach * 1.15, reach * 1.5), ylim=(-size * 0.35, reach * 1.12), aspect="equal"
        )
        axes.set_xlabel("first component")
        axes.set_ylabel("second component")
    return made


def softmax_bars(scores: Sequence[float], rows: Mapping[str, Sequence[float]]) -> Figure:
    """For each score a group of bars: the probabilities that each way of scaling gives it."""
    with figure(6.4, 3.2) as (made, axes):
        wide = 0.8 / len(rows)
        hatches = ("", "///", "...", "xx")
        for number, (name, values) in enumerate(rows.items()):
            at = np.arange(len(scores)) + (number - (len(rows) - 1) / 2) * wide
            bars = axes.bar(
                at,
                values,
                width=wide * 0.92,
                color=PALETTE[number],
                hatch=hatches[number],
                edgecolor="white",
                label=name,
            )
            axes.bar_label(bars, labels=[f"{v:.2f}" for v in values], padding=1, fontsize=9)
        axes.set_xticks(range(len(scores)), [f"{s:g}" for s in scores])
        axes.set_xlabel("score")
        axes.set_ylabel("probability")
        axes.set_ylim(0, 1.08)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper left")
    return made


def gradient_check(steps: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Figure:
    """How far a claimed derivative is from a numerical one, against the step, both axes log 10."""
    with figure(6.4, 3.8) as (made, axes):
        floor = min(v for values in errors.values() for v in values if v > 0)
        for number, (name, values) in enumerate(errors.items()):
            axes.plot(
                steps,
                np.maximum(values, floor),  # an error of zero has no place on a log axis
                color=PALETTE[number],
                linestyle=LINES[number],
                marker=MARKERS[number],
                markersize=4.5,
                label=name,
            )
        long = np.array([s for s in steps if s >= 1e-2])
        first = next(iter(errors.values()))
        top = float(first[int(np.argmax(steps))])
        guide = 4 * top * (long / max(steps)) ** 2
        axes.plot(long, guide, color=GREY, linewidth=1.0)
        axes.annotate(
            "slope 2: the formula's error",
            (long.min(), guide.min()),
            xytext=(-6, 2),
            textcoords="offset points",
            ha="right",
            color=GREY,
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("step h")
        axes.set_ylabel("difference, relative to the claimed derivative")
        axes.set_title("Claimed derivatives, checked numerically", loc="left")
        axes.legend(loc="lower left")
    return made


def sampled_means(
    counts: Sequence[int], runs: Sequence[Sequence[float]], expectation: float, sigma: float
) -> Figure:
    """Means of ever more samples, a line for each run, and two standard errors about the truth."""
    with figure(6.4, 3.6) as (made, axes):
        n = np.array(counts, dtype=float)
        width = 2 * sigma / np.sqrt(n)
        axes.fill_between(
            n,
            expectation - width,
            expectation + width,
            color=SKY,
            alpha=0.35,
            label="expectation ± 2 standard errors",
        )
        axes.axhline(expectation, color=BLUE, linewidth=1.8, label=f"expectation {expectation:.3g}")
        for number, values in enumerate(runs):
            axes.plot(
                n,
                values,
                color=VERMILION,
                linewidth=1.1,
                linestyle=LINES[number % 4],
                label=None if number else f"means of {len(runs)} runs, a line each",
            )
        axes.set_xscale("log")
        axes.margins(x=0)
        axes.set_xlabel("number of samples")
        axes.set_ylabel("mean of the samples")
        axes.set_title("Four times the samples, half the error", loc="left")
        axes.legend(loc="upper right")
    return made
