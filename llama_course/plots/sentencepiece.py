"""Figures of lesson 02: merges as a tree, and what a character costs in scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llama_course.plots.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SMALLEST_TEXT,
    VERMILION,
    figure,
)

MARKERS = (("s", BLUE, "full"), ("o", VERMILION, "none"), ("D", BLACK, "full"))


def merge_tree(characters: str, merges: Sequence[tuple[int, str, float]]) -> Figure:
    """Which characters merge when: a tree for each piece that is left at the end.

    characters: what the text begins as, one below each leaf. merges: in their order, the place of
    the first character, the piece that comes about, its score. Raises `ValueError` for a merge that
    does not stand on the characters.
    """
    heights = [0.0] * len(characters)  # of what each character belongs to by now
    centres = [float(i) for i in range(len(characters))]
    starts = list(range(len(characters)))  # where that begins
    ends = [i + 1 for i in starts]
    with figure(7.4, 1.5 + 0.34 * (len(merges) + 1)) as (made, axes):
        for step, (start, piece, score) in enumerate(merges, 1):
            end = start + len(piece)
            fits = characters[start:end] == piece and starts[start] == start
            middle = ends[start] if fits else end  # where the right one of the two begins
            if not start < middle < end or ends[middle] != end:
                raise ValueError(f"merge {step}, {piece!r} at {start}, is not of two neighbours")
            centre = (centres[start] + centres[middle]) / 2
            for part in (start, middle):
                x, y = centres[part], heights[part]
                axes.plot([x, x, centre], [y, step, step], color=GREY, linewidth=1.1, zorder=1)
            merged_again = any(s <= start and end <= s + len(p) for s, p, _ in merges[step:])
            _node(axes, centre, step, piece, lit=not merged_again)
            axes.text(len(characters) - 0.2, step, f"{score + 0.0:,.0f}", va="center", ha="right")
            for i in range(start, end):
                starts[i], ends[i], centres[i], heights[i] = start, end, centre, float(step)
        for i, character in enumerate(characters):
            _node(axes, i, 0, character, ends[i] - starts[i] == 1)
        axes.text(len(characters) - 0.2, len(merges) + 0.75, "score", ha="right", weight="bold")
        axes.set_xlim(-0.7, len(characters))
        axes.set_ylim(-0.6, len(merges) + 1.2)
        axes.set_yticks(range(1, len(merges) + 1))
        axes.set_xticks([])
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        axes.set_ylabel("merge")
        axes.set_xlabel("the text's characters; lit: what is left and gives an id")
    return made


def _node(axes: Axes, x: float, y: float, text: str, lit: bool) -> None:
    """A symbol; one that is left at the end is filled and framed thickly."""
    look = {
        "boxstyle": "round,pad=0.25",
        "facecolor": ORANGE if lit else "white",
        "edgecolor": BLACK if lit else GREY,
        "linewidth": 1.8 if lit else 1.0,
    }
    weight = "bold" if lit else "normal"
    axes.text(x, y, text, ha="center", va="center", bbox=look, weight=weight, zorder=3)


def ids_per_character(costs: Mapping[str, Mapping[str, float]]) -> Figure:
    """What one character costs: a row for each language, a marker for each way of counting.

    costs: for each way (such as a tokenizer's name) the number per character by language.
    """
    languages = list(next(iter(costs.values())))
    with figure(7.4, 1.4 + 0.29 * len(languages)) as (made, axes):
        for number, (name, values) in enumerate(costs.items()):
            marker, colour, fill = MARKERS[number % len(MARKERS)]
            axes.plot(
                [values[language] for language in languages],
                range(len(languages)),
                linestyle="none",
                marker=marker,
                color=colour,
                fillstyle=fill,
                markersize=(5.0, 10.0, 4.5)[number % 3],
                markeredgewidth=1.8 if fill == "none" else 1.0,
                label=name,
            )
        axes.set_yticks(range(len(languages)), languages)
        axes.invert_yaxis()
        axes.set_xlim(0, 4.5)
        axes.set_xticks(range(5))
        axes.set_xlabel("ids, or bytes, for one character (mean)")
        axes.legend(loc="upper right", fontsize=SMALLEST_TEXT)
    return made
