"""Lesson 05, second part: turning the pairs of every query and key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from llama_course.checks.exercise import (
    EXACT,
    LOOSE,
    Case,
    Exercise,
    Hints,
    Mistake,
    Tolerance,
    edit,
)
from llama_course.checks.scripts import calls, gradients, normal, shapes
from llama_course.model import rope

STARTER = '''
def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn every pair of numbers in every head by the angle of its token's position.

    x: (batch, seq, heads, head_dim), float32, bfloat16 or float16.
    cos, sin: (seq, head_dim // 2), or (batch, seq, head_dim // 2) where each row of the batch has
    positions of its own; always float32.

    The pairs are neighbours: (x[..., 0], x[..., 1]), then (x[..., 2], x[..., 3]), and so on.
    A pair (a, b) becomes (a * cos - b * sin, a * sin + b * cos), in the place where it was.
    Pair i of the token at index s takes cos[..., s, i] and sin[..., s, i], the same for all heads.
    The turn is computed in float32 and its result is cast back to the dtype of x.
    The result has the shape and the dtype of x.
    x, cos and sin are not changed, and gradients flow to x.
    """
    raise NotImplementedError
'''

SOLUTION = """
def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    wide = x.float()
    a, b = wide[..., 0::2], wide[..., 1::2]  # (batch, seq, heads, head_dim // 2) each
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)  # one angle for all heads
    turned = torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)
"""

PAIRS = "The pairs are neighbours: (x[..., 0], x[..., 1]), then (x[..., 2], x[..., 3]), and so on."
TURN = "A pair (a, b) becomes (a * cos - b * sin, a * sin + b * cos), in the place where it was."
WHICH = (
    "Pair i of the token at index s takes cos[..., s, i] and sin[..., s, i], the same for all "
    "heads."
)
WIDE = "The turn is computed in float32 and its result is cast back to the dtype of x."
SHAPE = "The result has the shape and the dtype of x."
INPUTS = "x, cos and sin are not changed, and gradients flow to x."

BF16, FP16 = torch.bfloat16, torch.float16
TURNED = Tolerance(1e-5, 2e-6, "float32: the two products of a pair may nearly cancel")


def table(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines."""
    return rope.rope_angles(positions, head_dim, 10000.0)


def steps(seq: int, head_dim: int, start: int = 0) -> tuple[Tensor, Tensor]:
    """Cosines and sines of `seq` positions in a row."""
    return table(torch.arange(start, start + seq), head_dim)


def exact(x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """The turned pairs in float64, and how far float32 styles may be from them."""
    a, b = x.double().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos.double().unsqueeze(-2), sin.double().unsqueeze(-2)
    turned = torch.stack((a * cos - b * sin, a * sin + b * cos), -1)
    room = torch.stack(((a * cos).abs() + (b * sin).abs(), (a * sin).abs() + (b * cos).abs()), -1)
    return turned.flatten(-2), room.flatten(-2) * 2.0**-22


def clear(dtype: torch.dtype, cos: Tensor, sin: Tensor, *shape: int) -> Tensor:
    """An input in `dtype` whose turned values are all clear of rounding boundaries.

    `fair` of scripts.py has a margin relative to the value; where a difference nearly cancels, the
    error is relative to its terms.
    """
    for seed in range(10_000):
        x = normal(*shape, seed=seed, dtype=dtype)
        turned, room = exact(x, cos, sin)
        if bool(((turned - room).to(dtype) == (turned + room).to(dtype)).all()):
            return x
    raise ValueError("no seed gives values that are all clear of rounding boundaries")


def distance_only(answer: Any) -> Iterator[tuple[str, Any]]:
    """The product of a turned query and a turned key, at two places of equal distance."""
    q, k = normal(1, 1, 2, 8, seed=30), normal(1, 1, 2, 8, seed=31)
    for m, n in ((3, 1), (103, 101), (1, 3)):
        turned_q = answer.apply_rope(q, *table(torch.tensor([m]), 8))
        turned_k = answer.apply_rope(k, *table(torch.tensor([n]), 8))
        yield f"the score of a query at {m} and a key at {n}", (turned_q * turned_k).sum(-1)


def hand(*numbers: float) -> Tensor:
    """One token, one head."""
    return torch.tensor(numbers).reshape(1, 1, 1, -1)


def angle_of(*numbers: float) -> Tensor:
    """A table of one position."""
    return torch.tensor([numbers])


ROWS = torch.tensor([[0, 1, 2], [7, 8, 9], [30, 4, 5]])

CASES = (
    Case(
        "The shape stays: one token, several, a batch, fewer heads for keys",
        "shape",
        SHAPE,
        "heads and positions mixed up, a lost axis",
        shapes(
            "apply_rope",
            (normal(1, 1, 1, 2, seed=1), *steps(1, 2)),
            (normal(1, 5, 4, 8, seed=2), *steps(5, 8)),
            (normal(3, 5, 2, 8, seed=3), *steps(5, 8)),
        ),
    ),
    Case(
        "Positions for each row of the batch: the shape stays too",
        "shape",
        SHAPE,
        "tables that may have one shape only",
        shapes("apply_rope", (normal(3, 3, 2, 8, seed=4), *table(ROWS, 8))),
    ),
    Case(
        "bfloat16 gives bfloat16",
        "shape",
        SHAPE,
        "a result that is left in float32",
        shapes("apply_rope", (normal(1, 3, 2, 8, seed=5, dtype=BF16), *steps(3, 8))),
        dtype=BF16,
    ),
    Case(
        "By hand: (3, 4) turned by the angle whose cosine is 0.6 and whose sine is 0.8",
        "example",
        TURN,
        "a sign, a turn backwards, cosine and sine swapped",
        calls("apply_rope", hand(3.0, 4.0), angle_of(0.6), angle_of(0.8)),
        expect={"the result of apply_rope": hand(-1.4, 4.8)},
        tolerance=TURNED,
    ),
    Case(
        "By hand: two pairs, a quarter turn for the first and another angle for the second",
        "example",
        PAIRS,
        "other partners than neighbours, another order in the result",
        calls("apply_rope", hand(1.0, 0.0, 0.0, 1.0), angle_of(0.0, 0.6), angle_of(1.0, 0.8)),
        expect={"the result of apply_rope": hand(0.0, 1.0, -0.8, 0.6)},
        tolerance=TURNED,
    ),
    Case(
        "An angle of zero changes nothing",
        "property",
        TURN,
        "anything added",
        calls("apply_rope", normal(1, 2, 2, 6, seed=6), torch.ones(2, 3), torch.zeros(2, 3)),
        tolerance=TURNED,
    ),
    Case(
        "A score depends on the distance of query and key alone",
        "property",
        TURN,
        "no rotation at all",
        distance_only,
        tolerance=LOOSE,
    ),
    Case(
        "Each token takes the angles of its own index",
        "property",
        WHICH,
        "the first token's angles for all",
        calls("apply_rope", torch.ones(1, 4, 1, 4), *steps(4, 4)),
        tolerance=TURNED,
    ),
    Case(
        "As many heads as tokens: still one angle for all heads of a token",
        "property",
        WHICH,
        "angles that run along the heads",
        calls("apply_rope", normal(1, 4, 4, 6, seed=7), *steps(4, 6)),
        tolerance=TURNED,
    ),
    Case(
        "Each row of the batch takes its own angles",
        "property",
        WHICH,
        "the first row's angles for all rows, or angles along the heads",
        calls("apply_rope", normal(3, 3, 3, 6, seed=8), *table(ROWS, 6)),
        tolerance=TURNED,
    ),
    Case(
        "The reference's numbers in float32, heads of 64",
        "float32",
        TURN,
        "anything else in the formula",
        calls("apply_rope", normal(2, 7, 3, 64, seed=9), *steps(7, 64, 50)),
        tolerance=TURNED,
    ),
    Case(
        "In bfloat16: turned in float32, then cast, bit for bit",
        "low precision",
        WIDE,
        "cosines or products in bfloat16",
        calls("apply_rope", clear(BF16, *steps(5, 32, 3), 1, 5, 2, 32), *steps(5, 32, 3)),
        dtype=BF16,
        tolerance=EXACT,
    ),
    Case(
        "In float16: turned in float32, then cast, bit for bit",
        "low precision",
        WIDE,
        "cosines or products in float16",
        calls("apply_rope", clear(FP16, *steps(4, 16, 3), 1, 4, 1, 16), *steps(4, 16, 3)),
        dtype=FP16,
        tolerance=EXACT,
    ),
    Case(
        "Heads of two numbers: one pair",
        "edge",
        PAIRS,
        "a split that needs four numbers",
        calls("apply_rope", normal(2, 3, 2, 2, seed=10), *steps(3, 2, 5)),
        tolerance=TURNED,
    ),
    Case(
        "Heads of six numbers: three pairs, so the two halves share one",
        "edge",
        PAIRS,
        "a head cut into halves",
        calls("apply_rope", normal(1, 3, 2, 6, seed=11), *steps(3, 6, 5)),
        tolerance=TURNED,
    ),
    Case(
        "One token at position 100,000",
        "edge",
        TURN,
        "angles that are made again instead of taken from the tables",
        calls("apply_rope", normal(1, 1, 2, 8, seed=12), *steps(1, 8, 100_000)),
        tolerance=TURNED,
    ),
    Case(
        "Very small and very large numbers",
        "edge",
        TURN,
        "anything added, anything clipped",
        calls(
            "apply_rope",
            normal(1, 3, 2, 8, seed=13) * torch.tensor([1e-8, 1e8])[None, None, :, None],
            *steps(3, 8, 2),
        ),
        tolerance=Tolerance(3e-5, 1e-13, "as above, for numbers far from one"),
    ),
    Case(
        "Heads and positions transposed in memory",
        "edge",
        WHICH,
        "view() where the layout does not allow it",
        calls("apply_rope", normal(2, 2, 5, 8, seed=14).transpose(1, 2), *steps(5, 8)),
        tolerance=TURNED,
    ),
    Case(
        "x, cos and sin are afterwards what they were",
        "inputs",
        INPUTS,
        "work in place: x.float() of a float32 tensor is x itself",
        calls("apply_rope", normal(1, 3, 2, 8, seed=15), *steps(3, 8, 1)),
        tolerance=TURNED,
    ),
    Case(
        "Gradients flow to x",
        "gradient",
        INPUTS,
        "detach(), .data, no_grad(), item()",
        lambda answer: (
            (name, value)
            for name, value in gradients(
                "apply_rope", normal(1, 3, 2, 8, seed=16), *steps(3, 8, 1)
            )(answer)
            if name == "the gradient for x"
        ),
        tolerance=LOOSE,
    ),
)  # fmt: skip

SPLIT = "wide[..., 0::2], wide[..., 1::2]"
AXIS = "cos.unsqueeze(-2), sin.unsqueeze(-2)"
PAIR = "(a * cos - b * sin, a * sin + b * cos)"
STACK = f"torch.stack({PAIR}, dim=-1)"
RESULT = "turned.flatten(-2).to(x.dtype)"
HALVES = "wide.chunk(2, dim=-1)"

MISTAKES = (
    Mistake(
        "identity",
        "x comes back as it was: nothing is turned, so a score cannot know any position.",
        (edit(RESULT, "x"), edit(RESULT, "x.clone()")),
        "What should become of (1, 0) after a quarter turn?",
    ),
    Mistake(
        "half-split pairing",
        "The first half of the head is paired with its second half, as Hugging Face does it; here "
        "neighbours are pairs, as in Meta's code and files.",
        (edit(SPLIT, HALVES, STACK, f"torch.cat({PAIR}, dim=-1)"),),
        "Which number is the partner of x[..., 0]?",
    ),
    Mistake(
        "neighbours turned, halves written",
        "The right pairs are turned, but all first numbers are put before all second ones; each "
        "pair has to go back to its place.",
        (edit(STACK, f"torch.cat({PAIR}, dim=-1)"),),
        "torch.cat puts one after the other; which function puts them side by side?",
    ),
    Mistake(
        "halves turned, neighbours written",
        "The head is cut into halves, and the turned numbers are then laid side by side.",
        (edit(SPLIT, HALVES, STACK, f"torch.stack([{PAIR[1:-1]}], dim=-1)"),),
        "Which number is the partner of x[..., 0]?",
    ),
    Mistake(
        "wrong sign",
        "The pairs are turned backwards: the minus stands with the second number. Scores then "
        "depend on the distance alone as before, but a trained checkpoint reads every distance "
        "the wrong way round.",
        (
            edit(PAIR, "(a * cos + b * sin, b * cos - a * sin)"),
            edit(AXIS, "cos.unsqueeze(-2), -sin.unsqueeze(-2)"),
        ),
        "What should become of (1, 0) after a quarter turn: (0, 1) or (0, -1)?",
    ),
    Mistake(
        "not a rotation",
        "One sign is wrong, so that the pairs are not turned but mirrored or stretched; a rotation "
        "has exactly one minus, with b * sin.",
        (
            edit(PAIR, "(a * cos + b * sin, a * sin + b * cos)"),
            edit(PAIR, "(a * cos - b * sin, a * sin - b * cos)"),
            edit(PAIR, "(a * cos + b * sin, a * sin - b * cos)"),
            edit(PAIR, "(a * cos - b * sin, b * cos - a * sin)"),
        ),
        "A turn leaves the length of (a, b) as it is. Does yours?",
    ),
    Mistake(
        "cosine and sine swapped",
        "cos stands where sin should, and sin where cos should: at angle 0 the pair should stay.",
        (edit(PAIR, "(a * sin - b * cos, a * cos + b * sin)"),),
        "Put in cos = 1 and sin = 0. What comes out?",
    ),
    Mistake(
        "overwritten too early",
        "The second number is computed from the first one after its turn; both need the old pair.",
        (edit(STACK, "torch.stack((a * cos - b * sin, (a * cos - b * sin) * sin + b * cos), "
              "dim=-1)"),),
        "Is there a line that changes a before the next line reads it?",
    ),
    Mistake(
        "partner forgotten",
        "Each number is scaled by a cosine or a sine alone; its partner is missing from the sum.",
        (
            edit(PAIR, "(a * cos, b * cos)"),
            edit(PAIR, "(a * cos, b * sin)"),
            edit(PAIR, "(a * cos, a * sin)"),
        ),
        "How many products does each new number consist of?",
    ),
    Mistake(
        "turned twice",
        "The pairs are turned, and then once more: every angle is doubled.",
        (
            edit(STACK, "torch.stack(((a * cos - b * sin) * cos - (a * sin + b * cos) * sin, "
                 "(a * cos - b * sin) * sin + (a * sin + b * cos) * cos), dim=-1)"),
        ),
        "What should become of (1, 0) after a quarter turn?",
    ),
    Mistake(
        "only half of the head turned",
        "Only the first half of each head's pairs is turned, as in models with a partial rotary "
        "factor; LLaMA turns all of it.",
        (
            edit(RESULT, "torch.cat((turned.flatten(-2).to(x.dtype)[..., : x.shape[-1] // 2], "
                 "x[..., x.shape[-1] // 2 :]), dim=-1)"),
        ),
        "How many pairs has a head of eight numbers?",
    ),
    Mistake(
        "only the first head turned",
        "The first head is turned and the others are left as they are; all heads are turned alike.",
        (
            edit(RESULT, "torch.cat((turned.flatten(-2).to(x.dtype)[:, :, :1], x[:, :, 1:]), "
                 "dim=2)"),
        ),
        "Which axis of x are the heads?",
    ),
    Mistake(
        "angles along the heads",
        "The angles are laid along the axis of the heads, so that head 1 is turned like position "
        "1; they belong to axis 1 of x, the positions.",
        (
            edit(AXIS, "cos.unsqueeze(-3), sin.unsqueeze(-3)"),
            edit(AXIS, "cos, sin"),
        ),
        "Write the shapes of x and of cos below each other, aligned at the right.",
    ),
    Mistake(
        "right for shared positions only",
        "The new axes are counted from the left, as in cos[:, None] or cos[None, :, None]: that is "
        "right for tables of shape (seq, pairs), and wrong for (batch, seq, pairs).",
        (
            edit(AXIS, "cos[:, None], sin[:, None]"),
            edit(AXIS, "cos[None, :, None], sin[None, :, None]"),
            edit(AXIS, "cos.view(1, x.shape[1], 1, -1), sin.view(1, x.shape[1], 1, -1)"),
        ),
        "Count the new axis from the right: it is the second from there in both cases.",
    ),
    Mistake(
        "positions ignored beyond the first row",
        "Of tables for a batch only the first row is used; each row has positions of its own.",
        (
            edit(AXIS, "(cos[:1] if cos.dim() == 3 else cos).unsqueeze(-2), "
                 "(sin[:1] if sin.dim() == 3 else sin).unsqueeze(-2)"),
        ),
        "Look for cos[0] in your function.",
    ),
    Mistake(
        "every token turned alike",
        "The angles of the first token are used for all tokens, so that no score changes.",
        (edit(AXIS, "cos[..., :1, :].unsqueeze(-2), sin[..., :1, :].unsqueeze(-2)"),),
        "Do two tokens of a sequence get two different angles?",
    ),
    Mistake(
        "turned in low precision",
        "The cosines or the products are rounded to the dtype of x before they are added; the "
        "tables are float32, so leave them so and cast the sum.",
        (
            edit("x.float()", "x", AXIS, "cos.unsqueeze(-2).to(x.dtype), sin.unsqueeze(-2).to("
                 "x.dtype)"),
            edit(AXIS, "cos.unsqueeze(-2).to(x.dtype), sin.unsqueeze(-2).to(x.dtype)"),
            edit(PAIR, "((a * cos).to(x.dtype) - (b * sin).to(x.dtype), (a * sin).to(x.dtype) + "
                 "(b * cos).to(x.dtype))"),
        ),
        "Which dtype has each of your four products?",
    ),
    Mistake(
        "result left in float32",
        "The values are right, but a bfloat16 x comes back in float32: cast the result to x.dtype.",
        (edit(".to(x.dtype)", ""),),
        "x.dtype is where you came from; .to(x.dtype) brings you back.",
    ),
    Mistake(
        "works on x in place",
        "The turned numbers are written into x.float(), which for a float32 x is x itself, so the "
        "caller's tensor is changed.",
        (
            edit(RESULT, "wide.copy_(turned.flatten(-2)).to(x.dtype)"),
        ),
        "Write into torch.empty_like(x), or put the parts together with torch.stack.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="apply_rope",
    lesson="05",
    title="Rotary position embedding",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="x[..., 0::2] are the first numbers of all pairs, x[..., 1::2] the second ones. cos "
        "needs one more axis, so that it can be multiplied with them: which one?",
        outline="Widen x to float32 and take its even and odd components, a and b. Give cos and "
        "sin an axis for the heads: the second from the right. Compute the two new numbers from "
        "the old pair, stack them along a new last axis, flatten the last two axes, cast back.",
    ),
    difficulty="medium",
    importance="It is all that LLaMA knows of order besides the causal mask; with it your model "
    "reads real checkpoints.",
    minutes=18,
    setup="import torch\nfrom torch import Tensor",
    forbidden=("transformers.*",),
    reference={"apply_rope": rope.apply_rope},
)
