"""What all figures share: colours, sizes, and figures that leave pyplot's state alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from llama_course.files import written_beside

# Okabe and Ito's palette ("Color Universal Design", 2008): told apart with any colour vision.
# Colour never stands alone: lines and markers differ in shape too.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
YELLOW = "#F0E442"
BLACK = "#000000"
GREY = "#6E6E6E"  # grid and remarks; 5 to 1 against white
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)

SMALLEST_TEXT = 9  # points
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": SMALLEST_TEXT,
    "ytick.labelsize": SMALLEST_TEXT,
    "legend.fontsize": SMALLEST_TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#D9D9D9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.hashsalt": "llama-course",  # ids in a picture that do not change from run to run
}


@contextmanager
def figure(width: float = 6.4, height: float = 4.0) -> Iterator[tuple[Figure, Axes]]:
    """A figure (in inches) with one pair of axes, in the course's style; draw within the block."""
    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(made)
        yield made, made.add_subplot()


def save_png(made: Figure, path: Path, dpi: int = 120) -> Path:
    """Write a figure as a picture, all or nothing; equal figures give equal bytes."""
    buffer = io.BytesIO()
    # Without its version the drawing library writes the same file everywhere.
    made.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    with written_beside(Path(path)) as beside:
        beside.write_bytes(buffer.getvalue())
    return Path(path)
