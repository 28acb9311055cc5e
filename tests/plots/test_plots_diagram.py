"""The model's diagram: what is named is lit, nothing else, and nothing lies over anything."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from llama_course.plots.diagram import PARTS, model_diagram
from llama_course.plots.style import SMALLEST_TEXT

NAMES = {
    "tokenizer": ["tokenizer"],
    "embedding": ["embedding"],
    "norm": ["norm", "norm", "norm"],
    "rope": ["RoPE\n(q, k)"],
    "attention": ["attention"],
    "cache": ["KV\ncache"],
    "swiglu": ["SwiGLU"],
    "block": ["32 blocks"],
    "head": ["head"],
}


def bold(made: Figure) -> list[str]:
    return [t.get_text() for t in made.axes[0].texts if t.get_weight() == "bold"]


@pytest.mark.parametrize("part", PARTS)
def test_the_part_that_is_named_is_lit_and_no_other(part: str) -> None:
    assert bold(model_diagram(part, 32)) == NAMES[part]


def test_several_parts_and_a_note() -> None:
    made = model_diagram(("embedding", "head"), 32, note="lit: both ends")
    assert sorted(bold(made)) == ["embedding", "head", "lit: both ends"]


@pytest.mark.parametrize("lit", ["heads", "", (), ("norm", "mlp")])
def test_an_unknown_part_is_refused(lit: str | tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="lit must name parts of tokenizer"):
        model_diagram(lit, 32)


def test_no_box_touches_another_even_when_all_are_lit() -> None:
    made = model_diagram(PARTS, 32, note="lit: everything")
    renderer = FigureCanvasAgg(made).get_renderer()
    made.draw(renderer)
    texts = [t for t in made.axes[0].texts if t.get_text()]
    boxes = [(t.get_text(), (t.get_bbox_patch() or t).get_window_extent(renderer)) for t in texts]
    for i, (name, one) in enumerate(boxes):
        for other_name, other in boxes[:i]:
            assert not one.overlaps(other), f"{name!r} lies over {other_name!r}"
    assert all(t.get_size() >= SMALLEST_TEXT for t in texts)
