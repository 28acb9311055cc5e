"""The loss curve: what is drawn is what was logged, and a person can read it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from llama_course.errors import CourseError
from llama_course.plots import loss_curve, save_loss_curve
from llama_course.plots.loss import smoothed
from llama_course.plots.style import GREY, PALETTE, SMALLEST_TEXT


def records(steps: int = 40) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"step": 0, "validation_loss": 6.9, "seconds": 0.0}]
    for step in range(1, steps + 1):
        made.append({"step": step, "loss": 3 + 4 * math.exp(-step / 10), "seconds": float(step)})
        if step % 20 == 0:
            made.append({"step": step, "validation_loss": 3.1 + 40 / step**2, "seconds": 0.0})
    return made


def test_it_draws_what_was_logged() -> None:
    (axes,) = loss_curve(records(), vocab_size=1000).axes
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    raw, smooth, held = (
        lines[name] for name in ("training, each step", "training, smoothed", "validation")
    )
    assert list(raw.get_xdata()) == list(range(1, 41))
    assert list(raw.get_ydata()) == [r["loss"] for r in records() if "loss" in r]
    assert len(smooth.get_ydata()) == 40
    assert list(held.get_xdata()) == [0, 20, 40]
    assert list(held.get_ydata()) == pytest.approx([6.9, 3.2, 3.125])
    # Not by colour alone: validation has markers and no line, training lines and no markers.
    assert (held.get_marker(), held.get_linestyle()) == ("D", "None")
    assert raw.get_marker() == "None" and raw.get_linewidth() < smooth.get_linewidth()
    assert any("ln 1000 = 6.91" in name for name in lines)


def test_labels_units_and_readable_text() -> None:
    made = loss_curve(records())
    (axes,) = made.axes
    assert axes.get_xlabel() == "step" and axes.get_ylabel() == "loss (nats per token)"
    made.canvas.draw()
    sizes = [t.get_fontsize() for t in made.findobj(Text) if t.get_text()]  # type: ignore[attr-defined]
    assert len(sizes) > 10 and min(sizes) >= SMALLEST_TEXT >= 9


def test_the_palette_is_told_apart_without_colour_vision() -> None:
    def deuteranope(colour: str) -> np.ndarray:
        """What is left without green receptors (Vienot et al. 1999), in linear light."""
        light = np.array(
            [((c + 0.055) / 1.055) ** 2.4 if c > 0.04 else c / 12.92 for c in to_rgb(colour)]
        )
        red, green, blue = light
        mixed = 0.29275 * red + 0.70725 * green
        return np.array([mixed, mixed, -0.02234 * red + 0.02234 * green + blue])

    seen = [deuteranope(colour) for colour in PALETTE]
    gaps = [abs(a - b).max() for i, a in enumerate(seen) for b in seen[:i]]
    # Red and green of equal brightness would differ by less than 0.02.
    assert min(gaps) > 0.05
    assert to_rgb(GREY)[0] < 0.45  # dark enough for small text: 5 to 1 against white


def test_a_run_of_one_step_and_an_empty_one() -> None:
    (axes,) = loss_curve([{"step": 1, "loss": 2.0}]).axes
    assert [str(line.get_label()) for line in axes.get_lines()] == ["training, each step"]
    with pytest.raises(CourseError, match="no loss to draw"):
        loss_curve([])


def test_smoothing_keeps_straight_lines_and_means() -> None:
    line = np.linspace(5.0, 1.0, 30)
    # Sums of thirty float64 numbers near 5: rounding of 1e-14.
    assert np.abs(smoothed(line, 7) - line).max() < 1e-13
    steps = smoothed(np.array([0.0, 0, 3, 0, 0]), 3)
    assert steps == pytest.approx([0, 1, 1, 1, 0])


def test_the_picture_is_written_and_pyplot_is_left_alone(tmp_path: Path) -> None:
    log = "".join(json.dumps(record) + "\n" for record in records())
    (tmp_path / "log.jsonl").write_text(log, encoding="utf-8")
    before = dict(matplotlib.rcParams)
    path = save_loss_curve(tmp_path)
    assert path == tmp_path / "loss.png" and path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size <= 80_000
    assert dict(matplotlib.rcParams) == before
    first = path.read_bytes()
    save_loss_curve(tmp_path)
    assert path.read_bytes() == first
    assert {p.name for p in tmp_path.iterdir()} == {"log.jsonl", "loss.png"}
