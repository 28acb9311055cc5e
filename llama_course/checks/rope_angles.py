"""Lesson 05, first part: the cosines and sines of RoPE's angles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from llama_course.checks.exercise import Case, Exercise, Hints, Mistake, Script, Tolerance, edit
from llama_course.checks.scripts import spread_out

STARTER = '''
def rope_angles(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """The cosine and the sine of every angle by which RoPE turns the pairs of a head.

    positions: (seq,) or (batch, seq), whole numbers (int64). head_dim: an even number.
    theta: a number, the base.

    Pairs are counted from 0: pair i turns by theta ** (-2 * i / head_dim) radians per position.
    At position p its angle is p times as large; the positions are the numbers that are given.
    Two tensors come back, first the cosines, then the sines.
    Each is (seq, head_dim // 2), or (batch, seq, head_dim // 2), and float32.
    Frequencies and angles are computed in float32 or wider.
    positions is not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def rope_angles(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    pair = torch.arange(head_dim // 2, device=positions.device)
    frequencies = theta ** (-2 * pair / head_dim)  # radians per position
    angles = positions[..., None] * frequencies
    return angles.cos(), angles.sin()
"""

PAIRS = (
    "Pairs are counted from 0: pair i turns by theta ** (-2 * i / head_dim) radians per position."
)
GIVEN = "At position p its angle is p times as large; the positions are the numbers that are given."
TWO = "Two tensors come back, first the cosines, then the sines."
SHAPE = "Each is (seq, head_dim // 2), or (batch, seq, head_dim // 2), and float32."
WIDE = "Frequencies and angles are computed in float32 or wider."

NEAR = Tolerance(0.0, 2e-5, "float32: an angle of 40 radians is known to some 4e-6")
FAR = Tolerance(0.0, 2e-3, "float32: an angle of 2,000 radians is known to some 2e-4")
FARTHER = Tolerance(0.0, 0.1, "float32: an angle of 130,000 radians is known to some 0.02")


def tables(*args: Any, keep: bool = True) -> Script:
    """Call the function and yield both tables; where only shapes count, zeros in their place."""

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        result = answer.rope_angles(*args)
        if not isinstance(result, tuple | list) or len(result) != 2:
            yield "the cosines", result
            return
        for name, table in zip(("the cosines", "the sines"), result, strict=True):
            yield name, table if keep or not isinstance(table, Tensor) else torch.zeros_like(table)

    return script


def at(*positions: int) -> Tensor:
    """Positions."""
    return torch.tensor(positions)


CASES = (
    Case(
        "Three positions, four pairs: two tensors of shape (3, 4)",
        "shape",
        SHAPE,
        "tables as wide as the head, one tensor in place of two",
        tables(torch.arange(3), 8, 10000.0, keep=False),
    ),
    Case(
        "Positions of a batch, (2, 3), give two tensors of shape (2, 3, 4)",
        "shape",
        SHAPE,
        "an outer product that knows one row only",
        tables(torch.arange(6).reshape(2, 3), 8, 10000.0, keep=False),
    ),
    Case(
        "By hand: at position 1 the angles are 1 and 0.1 where theta is 100",
        "example",
        PAIRS,
        "another exponent, the pairs in another order, degrees",
        tables(at(1), 4, 100.0),
        expect={
            "the cosines": torch.tensor([[0.540302, 0.995004]]),
            "the sines": torch.tensor([[0.841471, 0.0998334]]),
        },
        tolerance=NEAR,
    ),
    Case(
        "By hand: position 0 is not turned at all",
        "example",
        GIVEN,
        "positions counted from one, cosines and sines swapped",
        tables(at(0), 6, 10000.0),
        expect={"the cosines": torch.ones(1, 3), "the sines": torch.zeros(1, 3)},
        tolerance=NEAR,
    ),
    Case(
        "By hand: pair 2 of 4 turns by 1/100 per position, so by 0.03 at position 3",
        "example",
        GIVEN,
        "an exponent that is half or twice as large",
        tables(at(3), 8, 10000.0),
        expect={
            "the cosines": torch.tensor([[-0.989992, 0.955336, 0.999550, 0.9999955]]),
            "the sines": torch.tensor([[0.141120, 0.295520, 0.0299955, 0.002999996]]),
        },
        tolerance=NEAR,
    ),
    Case(
        "Positions that jump and run backwards are taken as they are",
        "property",
        GIVEN,
        "0, 1, 2, ... in place of the positions that are given",
        tables(at(7, 2, 40, 0, 3), 8, 10000.0),
        tolerance=NEAR,
    ),
    Case(
        "Each row of a batch has positions of its own",
        "property",
        GIVEN,
        "the first row's positions for all rows",
        tables(torch.tensor([[0, 1, 2], [5, 6, 7], [30, 31, 3]]), 6, 10000.0),
        tolerance=NEAR,
    ),
    Case(
        "The theta that is given is the one that counts",
        "property",
        PAIRS,
        "a base written into the function",
        tables(at(1, 2, 9, 31), 16, 500000.0),
        tolerance=NEAR,
    ),
    Case(
        "A small theta, and a head that is no power of two",
        "property",
        PAIRS,
        "anything that was fitted to 10000 and to 128",
        tables(at(1, 2, 9, 31), 10, 3.0),
        tolerance=NEAR,
    ),
    Case(
        "A head of 7B: 128 numbers, positions 0 to 39",
        "float32",
        PAIRS,
        "anything else in the formula",
        tables(torch.arange(40), 128, 10000.0),
        tolerance=NEAR,
    ),
    Case(
        "Positions 250 to 270, where bfloat16 no longer has every whole number",
        "low precision",
        WIDE,
        "positions, frequencies or angles in a 16-bit dtype",
        tables(torch.arange(250, 270), 32, 10000.0),
        tolerance=FAR,
    ),
    Case(
        "Positions 2,040 to 2,060, where float16 no longer has every whole number",
        "low precision",
        WIDE,
        "positions or angles in float16",
        tables(torch.arange(2040, 2060), 32, 10000.0),
        tolerance=FAR,
    ),
    Case(
        "One position, as in generation: shapes (1, 4) and (1, 1, 4)",
        "edge",
        SHAPE,
        "an axis of length one that is squeezed away",
        tables(torch.tensor([[17]]), 8, 10000.0),
        tolerance=NEAR,
    ),
    Case(
        "A head of two numbers: one pair, one radian per position",
        "edge",
        PAIRS,
        "a division by head_dim - 2",
        tables(at(0, 1, 5), 2, 10000.0),
        tolerance=NEAR,
    ),
    Case(
        "Positions past 65,504, the largest number of float16",
        "edge",
        WIDE,
        "positions that overflow",
        tables(at(65_535, 100_000, 131_071), 16, 500000.0),
        tolerance=FARTHER,
    ),
    Case(
        "Positions that do not lie side by side in memory",
        "edge",
        GIVEN,
        "view() where the layout does not allow it",
        tables(spread_out(torch.arange(6).reshape(2, 3)).T, 8, 10000.0),
        tolerance=NEAR,
    ),
    Case(
        "positions is afterwards what it was",
        "inputs",
        "positions is not changed.",
        "work in place",
        tables(at(0, 1, 2, 3), 8, 10000.0),
        tolerance=NEAR,
    ),
)  # fmt: skip

FREQUENCIES = "theta ** (-2 * pair / head_dim)"
ANGLES = "positions[..., None] * frequencies"
RESULT = "angles.cos(), angles.sin()"

MISTAKES = (
    Mistake(
        "wrong base",
        "A base is written into the function, and the theta that is given is not used. LLaMA has "
        "10,000, Llama 3 has 500,000, so it must come from outside.",
        (
            edit(FREQUENCIES, "10000.0 ** (-2 * pair / head_dim)"),
            edit(FREQUENCIES, "500000.0 ** (-2 * pair / head_dim)"),
            edit(FREQUENCIES, "torch.exp(-2 * pair / head_dim)"),
        ),
        "Which of the three arguments does your function never read?",
    ),
    Mistake(
        "exponent i/d for 2i/d",
        "The exponent is i / head_dim where it should be 2 * i / head_dim, so the slowest pair "
        "gets down to about 1 / sqrt(theta) only.",
        (edit("-2 * pair", "-pair"),),
        "With theta 100 and a head of four, what is the second frequency?",
    ),
    Mistake(
        "exponent 4i/d for 2i/d",
        "The two is there twice: torch.arange(0, head_dim, 2) already gives 2 * i, and it is "
        "doubled once more (or divided by head_dim // 2).",
        (edit("-2 * pair", "-4 * pair"),),
        "Print your exponents: they begin at 0 and stay above -1.",
    ),
    Mistake(
        "exponent without its minus",
        "theta is raised to +2i/head_dim: pair i turns by a number that grows with i, where it "
        "should turn by one over that number.",
        (edit("-2 * pair", "2 * pair"),),
        "Can a pair turn faster than one radian per position?",
    ),
    Mistake(
        "frequencies reversed",
        "The frequencies are right, but in the opposite order: pair 0 is the fastest.",
        (edit(FREQUENCIES, f"({FREQUENCIES}).flip(0)"),),
        "What is theta ** 0, and which pair gets it?",
    ),
    Mistake(
        "pairs counted from one",
        "i runs from 1 to head_dim / 2, as the formula in the RoFormer paper looks at a glance "
        "(its exponent has i - 1); here the first pair is 0 and turns by one radian.",
        (edit("torch.arange(head_dim // 2", "1 + torch.arange(head_dim // 2"),),
        "What is the first frequency, and what should it be?",
    ),
    Mistake(
        "one frequency for all pairs",
        "All pairs turn by one radian per position: the frequencies are left out, or // has "
        "rounded every exponent to 0.",
        (
            edit(FREQUENCIES, "torch.ones(head_dim // 2)"),
            edit(FREQUENCIES, "theta ** (-(2 * pair // head_dim).float())"),
        ),
        "Print the frequencies of a head of eight: they should be four different numbers.",
    ),
    Mistake(
        "positions shifted by one",
        "The first position is taken for 1; positions count from 0, and position 0 is not turned.",
        (edit(ANGLES, "(positions[..., None] + 1) * frequencies"),),
        "What are the cosine and the sine of position 0?",
    ),
    Mistake(
        "index for position",
        "The rows are numbered 0, 1, 2, ... and the positions that are given are not read; in "
        "generation a single new token may stand at position 500.",
        (
            edit(ANGLES, "torch.arange(positions.shape[-1]).expand(positions.shape)[..., None] "
                 "* frequencies"),
        ),
        "What should be the result for positions = [5]?",
    ),
    Mistake(
        "positions ignored beyond the first row",
        "Of a batch of positions only the first row is used, for all rows; rows may stand at "
        "different positions.",
        (
            edit(ANGLES, "(positions if positions.dim() == 1 else positions[:1].expand("
                 "positions.shape))[..., None] * frequencies"),
        ),
        "Look for positions[0] in your function.",
    ),
    Mistake(
        "one sequence only",
        "torch.outer takes two vectors, so positions of shape (batch, seq) end in an error.",
        (edit(ANGLES, "torch.outer(positions, frequencies)"),),
        "Which operation multiplies every position by every frequency, whatever axes come before?",
    ),
    Mistake(
        "low-precision angles",
        "Positions, frequencies or angles are rounded to a 16-bit dtype on the way: bfloat16 has "
        "no 257, and float16 no 2,049.",
        tuple(
            edit(*change)
            for dtype in ("bfloat16", "half")
            for change in (
                (ANGLES, f"(positions[..., None].{dtype}() * frequencies.{dtype}()).float()"),
                (ANGLES, f"positions[..., None].{dtype}() * frequencies"),
                (ANGLES, f"positions[..., None] * frequencies.{dtype}().float()"),
                (ANGLES, f"({ANGLES}).{dtype}().float()"),
            )
        ),
        "Follow the dtype from positions to the cosine: which is the narrowest on the way?",
    ),
    Mistake(
        "low-precision tables",
        "The cosines and sines are rounded to a 16-bit dtype and then widened again, which brings "
        "nothing back.",
        (
            edit(RESULT, "angles.cos().bfloat16().float(), angles.sin().bfloat16().float()"),
            edit(RESULT, "angles.cos().half().float(), angles.sin().half().float()"),
        ),
        "Look for a cast between the cosine and the return.",
    ),
    Mistake(
        "result in bfloat16",
        "The angles are right, but the tables come back in bfloat16, where a cosine has three "
        "digits; they stay float32, and apply_rope casts its result.",
        (edit(RESULT, "angles.cos().bfloat16(), angles.sin().bfloat16()"),),
        "Which dtype does the docstring ask for?",
    ),
    Mistake(
        "result in float64",
        "The angles are computed in float64, which is welcome, but the tables come back in it too.",
        (edit(ANGLES, f"{ANGLES}.double()"), edit(ANGLES, f"({ANGLES}).double()")),
        "Add .float() at the very end.",
    ),
    Mistake(
        "cosine and sine swapped",
        "The sines come back first; the cosines are asked for first.",
        (edit(RESULT, "angles.sin(), angles.cos()"),),
        "Which of the two is 1 at position 0?",
    ),
    Mistake(
        "angles returned",
        "The angles themselves come back, or they twice; their cosines and sines are asked for.",
        (edit(RESULT, "angles"), edit(RESULT, "angles, angles")),
        "Two tensors come back, and neither has a number above 1.",
    ),
    Mistake(
        "one complex table",
        "cos + i sin comes back as one complex tensor, as in Meta's code; here the two are "
        "separate tensors.",
        (edit(RESULT, "torch.polar(torch.ones_like(angles), angles)"),),
        "A complex tensor has .real and .imag.",
    ),
    Mistake(
        "one number for each component",
        "The tables are as wide as the head, each angle twice, as Hugging Face stores them; here "
        "each pair has one angle.",
        (
            edit(ANGLES, f"({ANGLES}).repeat(*[1] * positions.dim(), 2)"),
            edit(ANGLES, f"({ANGLES}).repeat_interleave(2, dim=-1)"),
        ),
        "How many pairs has a head of eight numbers?",
    ),
    Mistake(
        "degrees for radians",
        "The angle is taken for degrees and converted; it is in radians already.",
        (edit(ANGLES, f"torch.deg2rad({ANGLES})"),),
        "cos and sin of torch take radians.",
    ),
    Mistake(
        "turns for radians",
        "The angle is multiplied by 2 pi, as if frequencies were whole turns per position; they "
        "are radians per position.",
        (edit(ANGLES, f"2 * torch.pi * ({ANGLES})"),),
        "How far does pair 0 turn from one position to the next?",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="rope_angles",
    lesson="05",
    title="RoPE's angles",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Make the frequencies first, one for each pair: a tensor of head_dim // 2 numbers "
        "that begins with 1. Every position then multiplies all of them.",
        outline="Number the pairs with torch.arange. Raise theta to -2 * i / head_dim. Give "
        "positions one more axis at its end, so that multiplying by the frequencies makes "
        "(..., seq, head_dim // 2) angles. Return their cosines and their sines.",
    ),
    difficulty="easy",
    importance="Every layer of every forward pass turns its queries and keys by these numbers.",
    minutes=12,
    setup="import torch\nfrom torch import Tensor",
    forbidden=("transformers.*",),
)
