"""The model as boxes and arrows: the words that all diagrams share, and the whole on one page."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from llama_course.plots.style import BLACK, GREY, ORANGE, figure

PARTS = (
    *("tokenizer", "embedding", "norm", "rope", "attention", "cache", "swiglu", "block", "head"),
)


def box(axes: Axes, x: float, y: float, text: str, lit: bool = False) -> None:
    """A part of the model; a lit one is filled, framed thickly and set in bold."""
    look = {
        "boxstyle": "round,pad=0.45",
        "facecolor": ORANGE if lit else "white",
        "edgecolor": BLACK if lit else GREY,
        "linewidth": 2.0 if lit else 1.0,
    }
    weight = "bold" if lit else "normal"
    axes.text(x, y, text, ha="center", va="center", bbox=look, weight=weight)


def arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    head: bool = True,
    width: float = 1.2,
) -> None:
    """An arrow below the boxes; without a head, a line."""
    style = "-|>" if head else "-"
    look = {"arrowstyle": style, "color": GREY, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=look, zorder=0)


def plus(axes: Axes, x: float, y: float) -> None:
    """Where a branch is added to the stream."""
    circle = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": GREY}
    axes.text(x, y, "+", ha="center", va="center", size=12, bbox=circle)


def frame(
    axes: Axes, x: float, y: float, width: float, height: float, lit: bool = False
) -> FancyBboxPatch:
    """A dashed frame around several parts, from its lower left corner; a lit one is filled."""
    patch = FancyBboxPatch(
        *((x, y), width, height),
        boxstyle="round,pad=0.05",
        linestyle="--",
        edgecolor=BLACK if lit else GREY,
        facecolor=(*_rgb(ORANGE), 0.22) if lit else "none",
        linewidth=2.0 if lit else 1.0,
        zorder=-1,
    )
    axes.add_patch(patch)
    return patch


def model_diagram(lit: str | tuple[str, ...], n_layers: int, note: str = "") -> Figure:
    """LLaMA on one page: from text to the next token above, and one of its blocks below.

    `lit` names today's part, or several of PARTS. `note` is a line of your own below. Raises
    `ValueError` for a part that the diagram does not have.
    """
    today = {lit} if isinstance(lit, str) else set(lit)
    if not today or not today <= set(PARTS):
        raise ValueError(f"lit must name parts of {', '.join(PARTS)}; found {lit!r}")
    if n_layers < 1:
        raise ValueError(f"a model has at least one block, found n_layers={n_layers}")
    with figure(7.4, 3.9 if note else 3.6) as (made, axes):
        axes.set_axis_off()
        axes.set_xlim(0, 15.8)
        axes.set_ylim(-3.9 if note else -3.1, 4.7)
        _way(axes, today, n_layers)
        _block(axes, today)
        if note:
            axes.text(0.15, -3.6, note, weight="bold", va="center")
    return made


def _way(axes: Axes, today: set[str], n_layers: int) -> None:
    """Above: what happens to a text, from left to right."""
    y = 3.9
    stations = (
        (0.55, "text", ""),
        (2.6, "tokenizer", "tokenizer"),
        (5.25, "embedding", "embedding"),
        (8.05, f"{n_layers} blocks" if n_layers > 1 else "1 block", "block"),
        (10.3, "norm", "norm"),
        (12.1, "head", "head"),
        (14.55, "next token", ""),
    )
    arrow(axes, (0.55, y), (13.4, y))
    for x, name, part in stations:
        if part:
            box(axes, x, y, name, part in today)
        else:
            ground = {"facecolor": "white", "edgecolor": "none", "pad": 2.0}
            axes.text(x, y, name, ha="center", va="center", style="italic", bbox=ground)
    # The block below is the one above, seen from near.
    for x, corner in ((7.3, 0.3), (8.8, 15.45)):
        axes.plot([x, corner], [y - 0.5, 2.45], color=GREY, linewidth=0.8, linestyle=":")


def _block(axes: Axes, today: set[str]) -> None:
    """Below: one block, its two branches leaving the stream and coming back."""
    stream, branch = -1.75, 0.75
    frame(axes, 0.3, -2.5, 15.15, 4.85, lit="block" in today)
    arrow(axes, (0.0, stream), (15.8, stream), width=1.6)
    for start, back in ((0.75, 10.65), (11.2, 15.0)):
        arrow(axes, (start, stream), (start, branch), head=False)
        arrow(axes, (start, branch), (back, branch), head=False)
        arrow(axes, (back, branch), (back, stream + 0.3))
        plus(axes, back, stream)
    parts = (
        (1.6, "norm", "norm"),
        (3.05, "wq\nwk\nwv", ""),
        (4.55, "RoPE\n(q, k)", "rope"),
        (6.15, "KV\ncache", "cache"),
        (8.1, "attention", "attention"),
        (9.8, "wo", ""),
        (12.05, "norm", "norm"),
        (13.8, "SwiGLU", "swiglu"),
    )
    for x, name, part in parts:
        box(axes, x, branch, name, part in today)
    axes.text(2.0, stream - 0.15, "the residual stream", va="top", color=GREY)


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
