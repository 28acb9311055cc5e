"""The loss of a training run, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from llama_course.errors import CourseError
from llama_course.plots.style import BLUE, GREY, SKY, VERMILION, figure, save_png
from llama_course.training.log import read_log


def loss_curve(
    records: Sequence[Mapping[str, Any]],
    *,
    title: str = "Loss while training",
    vocab_size: int | None = None,
) -> Figure:
    """Training and validation loss against the step, from the records of a `log.jsonl`.

    A thin line is each step's loss, a thick one its smoothed course, diamonds are validation. With
    `vocab_size` a dashed line marks `ln(vocab_size)`, the loss of guessing blindly. Losses are in
    nats per token.

    Raises `CourseError` where there is nothing to draw.
    """
    train = [(r["step"], r["loss"]) for r in records if "loss" in r]
    held = [(r["step"], r["validation_loss"]) for r in records if "validation_loss" in r]
    if not train and not held:
        raise CourseError("There is no loss to draw: the log has no step yet, so train first.")
    with figure() as (made, axes):
        if train:
            steps, losses = np.array(train, dtype=float).T
            axes.plot(steps, losses, color=SKY, linewidth=0.8, label="training, each step")
            if len(steps) >= 10:
                smooth = smoothed(losses, width=max(5, len(steps) // 25))
                axes.plot(steps, smooth, color=BLUE, linewidth=2.0, label="training, smoothed")
        if held:
            steps, losses = np.array(held, dtype=float).T
            axes.plot(
                *(steps, losses),
                color=VERMILION,
                linestyle="none",  # between two validations nothing was measured
                marker="D",
                markersize=5.5,
                markeredgecolor="white",
                label="validation",
            )
            axes.annotate(
                f"{losses[-1]:.2f}",
                (steps[-1], losses[-1]),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                color=VERMILION,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
            )
        if vocab_size is not None:
            axes.axhline(
                math.log(vocab_size),
                color=GREY,
                linestyle="--",
                linewidth=1.0,
                label=f"blind guess, ln {vocab_size} = {math.log(vocab_size):.2f}",
            )
        axes.set_title(title, loc="left")
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats per token)")
        axes.margins(x=0.03)
        axes.legend()
    return made


def save_loss_curve(folder: Path, **options: Any) -> Path:
    """Draw a run's `log.jsonl` as `loss.png` in its folder; `options` are `loss_curve`'s."""
    folder = Path(folder)
    return save_png(loss_curve(read_log(folder), **options), folder / "loss.png")


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """The mean over `width` values around each, over fewer near the ends, always as many before as
    after: a straight line stays straight."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    i = np.arange(len(values))
    half = np.minimum(width // 2, np.minimum(i, len(values) - 1 - i))
    return (sums[i + half + 1] - sums[i - half]) / (2 * half + 1)
