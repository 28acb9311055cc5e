"""Lesson 04: root-mean-square normalisation."""

from __future__ import annotations

import torch
from torch import Tensor

from llama_course.checks.exercise import (
    EXACT,
    LOOSE,
    RELATIVE,
    Case,
    Exercise,
    Hints,
    Mistake,
    edit,
)
from llama_course.checks.scripts import calls, fair, gradients, normal, shapes, spread_out
from llama_course.model.rmsnorm import rms_norm

STARTER = '''
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Divide each vector by its root mean square, then scale each component by `weight`.

    x: (..., dim), float32, bfloat16 or float16. weight: (dim,), of the same dtype. eps: a number.

    The result has the shape and the dtype of x.
    The vectors lie along the last axis, and each is normalised alone.
    There may be no vector at all: then the result is empty too.
    The root mean square of a vector is sqrt(mean(x ** 2) + eps), with the eps that is given.
    Everything up to the quotient, the division included, is computed in float32.
    The quotient is cast back to x's dtype, and only then multiplied by weight.
    x and weight are not changed.
    Gradients flow to x and to weight.
    """
    raise NotImplementedError
'''

SOLUTION = """
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    mean_square = wide.pow(2).mean(dim=-1, keepdim=True)
    return (wide / torch.sqrt(mean_square + eps)).to(x.dtype) * weight
"""

SHAPE = "The result has the shape and the dtype of x."
ALONE = "The vectors lie along the last axis, and each is normalised alone."
ROOT = "The root mean square of a vector is sqrt(mean(x ** 2) + eps), with the eps that is given."
WIDE = "Everything up to the quotient, the division included, is computed in float32."
CAST = "The quotient is cast back to x's dtype, and only then multiplied by weight."
WEIGHT = "Divide each vector by its root mean square, then scale each component by `weight`."

BF16, FP16 = torch.bfloat16, torch.float16
ones = torch.ones(8)


def clear(
    dtype: torch.dtype, *shape: int, scale: float = 1.0, shift: float = 0.0, eps: float = 1e-5
) -> Tensor:
    """An input in `dtype` whose quotients are all clear of rounding boundaries."""

    def quotient(x: Tensor) -> Tensor:
        return x / torch.sqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)

    return fair(
        lambda seed: (normal(*shape, seed=seed, scale=scale) + shift).to(dtype), quotient, dtype
    )


CASES = (
    Case(
        "One, two, three and four axes keep their shape",
        "shape",
        SHAPE,
        "a lost axis, a missing keepdim",
        shapes(
            "rms_norm",
            (normal(8, seed=1), ones, 1e-5),
            (normal(3, 8, seed=2), ones, 1e-5),
            (normal(2, 3, 8, seed=3), ones, 1e-5),
            (normal(2, 2, 3, 8, seed=3), ones, 1e-5),
        ),
    ),
    Case(
        "A bfloat16 vector gives a bfloat16 vector",
        "shape",
        SHAPE,
        "a result that is left in float32",
        shapes("rms_norm", (normal(2, 8, seed=4, dtype=BF16), ones.to(BF16), 1e-5)),
        dtype=BF16,
    ),
    Case(
        "By hand: the mean of 9, 16, 0 and 0 is 6.25, its root is 2.5",
        "example",
        ROOT,
        "sum for mean, a missing root, a mean that is subtracted",
        calls("rms_norm", torch.tensor([3.0, 4.0, 0.0, 0.0]), torch.ones(4), 0.0),
        expect={"the result of rms_norm": torch.tensor([1.2, 1.6, 0.0, 0.0])},
    ),
    Case(
        "By hand: epsilon counts inside the root, 0.25 + 0.75 = 1",
        "example",
        ROOT,
        "epsilon outside the root, forgotten or fixed",
        calls("rms_norm", torch.tensor([0.5, -0.5, 0.5, -0.5]), torch.ones(4), 0.75),
        expect={"the result of rms_norm": torch.tensor([0.5, -0.5, 0.5, -0.5])},
    ),
    Case(
        "By hand: each component has its own weight",
        "example",
        WEIGHT,
        "the weight forgotten, plus one, or divided by",
        calls("rms_norm", torch.ones(4), torch.tensor([1.0, -2.0, 0.5, 0.0]), 0.0),
        expect={"the result of rms_norm": torch.tensor([1.0, -2.0, 0.5, 0.0])},
    ),
    Case(
        "Each vector is normalised alone, whatever its neighbours are",
        "property",
        ALONE,
        "a mean over the batch, over the positions or over everything",
        calls(
            "rms_norm",
            torch.tensor([[[1.0, 1.0], [9.0, 9.0]], [[0.1, -0.1], [5.0, 0.0]]]),
            torch.ones(2),
            0.0,
        ),
    ),
    Case(
        "A thousand times the vector gives the same result when epsilon is zero",
        "property",
        ROOT,
        "no root",
        calls("rms_norm", normal(4, 8, seed=5) * 1000, ones, 0.0),
    ),
    Case(
        "The reference's numbers in float32",
        "float32",
        ROOT,
        "anything else in the formula",
        calls("rms_norm", normal(2, 5, 160, seed=6) + 0.5, normal(160, seed=7), 1e-5),
    ),
    Case(
        "The epsilon that is given is the one that counts",
        "float32",
        ROOT,
        "an epsilon written into the function",
        calls("rms_norm", normal(3, 8, seed=8, scale=2e-3), normal(8, seed=9), 1e-6),
    ),
    Case(
        "A larger epsilon shortens the vectors more",
        "float32",
        ROOT,
        "an epsilon used twice, or as a lower limit",
        calls("rms_norm", normal(3, 8, seed=10), normal(8, seed=11), 0.3),
    ),
    Case(
        "In bfloat16: float32 inside, cast back, then the weight, bit for bit",
        "low precision",
        CAST,
        "the weight before the cast, statistics in bfloat16",
        calls("rms_norm", clear(BF16, 3, 64), normal(64, seed=12, dtype=BF16), 1e-5),
        dtype=BF16,
        tolerance=EXACT,
    ),
    Case(
        "In bfloat16, with components that all lie near 10: the mean needs float32's digits",
        "low precision",
        WIDE,
        "statistics or division in bfloat16",
        calls("rms_norm", clear(BF16, 2, 64, shift=10.0), torch.ones(64, dtype=BF16), 1e-5),
        dtype=BF16,
        tolerance=EXACT,
    ),
    Case(
        "In float16, components near 300: their squares overflow where they are not widened",
        "low precision",
        WIDE,
        "squares taken in float16",
        calls("rms_norm", clear(FP16, 2, 16, scale=300.0), normal(16, seed=13, dtype=FP16), 1e-5),
        dtype=FP16,
        tolerance=EXACT,
    ),
    Case(
        "In bfloat16, components near 0.002: epsilon too keeps float32's digits",
        "low precision",
        WIDE,
        "an epsilon that is rounded to x's dtype, a mean that is rounded before the root",
        calls(
            "rms_norm",
            clear(BF16, 4, 64, scale=2e-3, eps=3e-6),
            torch.ones(64, dtype=BF16),
            3e-6,
        ),
        dtype=BF16,
        tolerance=EXACT,
    ),
    Case(
        "In float16, components near 0.001: epsilon too keeps float32's digits",
        "low precision",
        WIDE,
        "an epsilon that float16 rounds by a hundredth",
        calls(
            "rms_norm",
            clear(FP16, 2, 16, scale=1e-3, eps=1e-6),
            torch.ones(16, dtype=FP16),
            1e-6,
        ),
        dtype=FP16,
        tolerance=EXACT,
    ),
    Case(
        "A vector of zeros gives zeros",
        "edge",
        ROOT,
        "a missing epsilon: zero over zero is not a number",
        calls("rms_norm", torch.zeros(2, 4), torch.ones(4), 1e-6),
        expect={"the result of rms_norm": torch.zeros(2, 4)},
    ),
    Case(
        "Vectors of length one",
        "edge",
        ROOT,
        "a variance in place of the mean square, N - 1 for N",
        calls("rms_norm", torch.tensor([[2.0], [-0.5]]), torch.tensor([3.0]), 1e-5),
    ),
    Case(
        "Very small and very large numbers",
        "edge",
        ROOT,
        "an epsilon in the wrong place",
        calls(
            "rms_norm",
            normal(4, 8, seed=14) * torch.tensor([[1e-9], [1e-4], [1e4], [1e9]]),
            ones,
            1e-6,
        ),
        tolerance=RELATIVE,
    ),
    Case(
        "A tensor whose components do not lie side by side in memory",
        "edge",
        ALONE,
        "view() where the layout does not allow it",
        calls("rms_norm", spread_out(normal(2, 3, 8, seed=15)).transpose(0, 1), ones, 1e-5),
    ),
    Case(
        "A batch without a single vector",
        "edge",
        "There may be no vector at all: then the result is empty too.",
        "a loop that needs at least one vector",
        calls("rms_norm", torch.zeros(0, 8), ones, 1e-5),
    ),
    Case(
        "x and weight are afterwards what they were",
        "inputs",
        "x and weight are not changed.",
        "work in place: x.float() of a float32 tensor is x itself",
        calls("rms_norm", normal(3, 8, seed=16), normal(8, seed=17), 1e-5),
    ),
    Case(
        "Gradients flow to x and to weight",
        "gradient",
        "Gradients flow to x and to weight.",
        "detach(), .data, no_grad(), item()",
        gradients("rms_norm", normal(3, 8, seed=18), normal(8, seed=19), 1e-5),
        tolerance=LOOSE,
    ),
)

ROOT_OF = "torch.sqrt(mean_square + eps)"
QUOTIENT = "(wide / torch.sqrt(mean_square + eps)).to(x.dtype) * weight"
SQUARES = "wide.pow(2).mean(dim=-1, keepdim=True)"

MISTAKES = (
    Mistake(
        "epsilon outside the root",
        "Epsilon is added after the root, as Adam does it; here it is added to the mean square, "
        "before the root is taken.",
        (edit(ROOT_OF, "(torch.sqrt(mean_square) + eps)"),),
        "What does sqrt(0.25 + 0.75) give, and what sqrt(0.25) + 0.75?",
    ),
    Mistake(
        "missing epsilon",
        "Epsilon is not used: the formula looks right without it, until a vector is zero or tiny.",
        (
            edit(ROOT_OF, "torch.sqrt(mean_square)"),
            edit(QUOTIENT, "(wide * torch.rsqrt(mean_square)).to(x.dtype) * weight"),
        ),
        "What does a vector of zeros give? eps is there for it.",
    ),
    Mistake(
        "epsilon fixed",
        "Epsilon is a number written into the function; the one that is given is not used. "
        "LLaMA 1 has 1e-6 and Llama 2 has 1e-5, so it must come from outside.",
        (
            edit(ROOT_OF, "torch.sqrt(mean_square + 1e-6)"),
            edit(ROOT_OF, "torch.sqrt(mean_square + 1e-5)"),
            edit(ROOT_OF, "torch.sqrt(mean_square + 1e-8)"),
        ),
        "Which of the three arguments does your function never read?",
    ),
    Mistake(
        "epsilon twice",
        "Epsilon is added inside the root and once more outside it; the one inside is enough.",
        (edit(ROOT_OF, "(torch.sqrt(mean_square + eps) + eps)"),),
        "Count how often eps occurs in your line.",
    ),
    Mistake(
        "epsilon as a lower limit",
        "Epsilon is used as the least value that is allowed, as torch.nn.functional.normalize "
        "does it; here it is added.",
        (
            edit(ROOT_OF, "torch.sqrt(mean_square.clamp(min=eps))"),
            edit(ROOT_OF, "torch.sqrt(mean_square).clamp(min=eps)"),
        ),
        "clamp and max leave a mean square that is large enough as it is; + does not.",
    ),
    Mistake(
        "epsilon added to x",
        "Epsilon is added to the components before they are squared; it belongs to the mean of "
        "the squares.",
        (edit("wide.pow(2)", "(wide + eps).pow(2)"),),
        "First the squares, then their mean, then + eps.",
    ),
    Mistake(
        "mean subtracted",
        "The mean is subtracted first, which is LayerNorm; RMSNorm leaves the mean where it is.",
        (
            edit("x.float()", "x.float() - x.float().mean(dim=-1, keepdim=True)"),
            edit(
                "x.float()",
                "x.float() - x.float().mean(dim=-1, keepdim=True)",
                SQUARES,
                "x.float().var(dim=-1, keepdim=True)",
            ),
        ),
        "By hand, what is the result for a vector whose components are all 1?",
    ),
    Mistake(
        "variance for the mean square",
        "The divisor comes from the variance, which measures from the mean; the mean square "
        "measures from zero.",
        (
            edit(SQUARES, "wide.var(dim=-1, keepdim=True, unbiased=False)"),
            edit(SQUARES, "wide.var(dim=-1, keepdim=True)"),
        ),
        "torch.var and torch.std subtract the mean before they square.",
    ),
    Mistake(
        "sum for mean",
        "The squares are summed and not averaged, which gives vectors of length one; divided by "
        "the root of the mean they get a length of about sqrt(dim).",
        (edit(".mean(dim=-1", ".sum(dim=-1"),),
        "What should the result for [3, 4, 0, 0] be, and how long is that vector?",
    ),
    Mistake(
        "no root",
        "The vector is divided by the mean square itself: the root is missing, so a vector twice "
        "as long comes out half as long.",
        (edit(ROOT_OF, "(mean_square + eps)"),),
        "Mean square is the square of what you want to divide by.",
    ),
    Mistake(
        "multiplied by the root",
        "The vector is multiplied by the root; either divide by sqrt or multiply by rsqrt, which "
        "is one over the root.",
        (edit("wide / torch.sqrt", "wide * torch.sqrt"),),
        "One letter lies between sqrt and rsqrt.",
    ),
    Mistake(
        "absolute value for the square",
        "The mean of the absolute values is taken; the root mean square weighs large components "
        "more.",
        (
            edit(SQUARES, "wide.abs().mean(dim=-1, keepdim=True)", ROOT_OF, "(mean_square + eps)"),
            edit(SQUARES, "wide.abs().mean(dim=-1, keepdim=True).pow(2)"),
        ),
        "Square first, then take the mean, then the root.",
    ),
    Mistake(
        "wrong axis",
        "The mean runs along another axis than the last: vectors are mixed with their neighbours.",
        (edit("dim=-1", "dim=0"), edit("dim=-1", "dim=1"), edit("dim=-1", "dim=-2")),
        "dim=-1 is the last axis, however many there are before it.",
    ),
    Mistake(
        "one mean for everything",
        "One mean is taken over the whole tensor; each vector needs its own, along the last axis.",
        (
            edit(SQUARES, "wide.pow(2).mean()"),
            edit("dim=-1", "dim=tuple(range(x.dim()))"),
        ),
        "mean() without dim averages over every axis.",
    ),
    Mistake(
        "statistics without the upcast",
        "The squares, or their mean, are in x's own dtype; in bfloat16 three digits are left, and "
        "in float16 the square of 300 is infinite. Widen x to float32 first, and stay there.",
        (
            edit("x.float()", "x"),
            edit("x.float()", "x", QUOTIENT, "wide * torch.rsqrt(mean_square + eps) * weight"),
            edit("x.float()", "x", QUOTIENT, "wide * torch.sqrt(mean_square + eps) ** -1 * weight"),
            edit(SQUARES, "x.pow(2).mean(dim=-1, keepdim=True)"),
            edit(SQUARES, "x.pow(2).mean(dim=-1, keepdim=True).float()"),
            edit(SQUARES, "x.pow(2).float().mean(dim=-1, keepdim=True)"),
        ),
        "What is x.pow(2) for a float16 x of 300?",
    ),
    Mistake(
        "division in low precision",
        "The root is cast down before the division, so the quotient is rounded twice; divide in "
        "float32 and cast the quotient.",
        (
            edit(QUOTIENT, "x / torch.sqrt(mean_square + eps).to(x.dtype) * weight"),
            edit(QUOTIENT, "x * torch.rsqrt(mean_square + eps).to(x.dtype) * weight"),
        ),
        "Which dtype does each side of your division have?",
    ),
    Mistake(
        "weight multiplied before the cast",
        "The weight is multiplied in while everything is still float32, and then the product is "
        "cast; LLaMA casts the quotient first, and other bits come out.",
        (
            edit(QUOTIENT, "(wide / torch.sqrt(mean_square + eps) * weight).to(x.dtype)"),
            edit(QUOTIENT, "(wide * weight / torch.sqrt(mean_square + eps)).to(x.dtype)"),
        ),
        "Move .to(x.dtype) one bracket further in.",
    ),
    Mistake(
        "weight plus one",
        "The result is scaled by 1 + weight, as Gemma does it; LLaMA's weight starts at one and is "
        "used as it is.",
        (edit("* weight", "* (1 + weight)"),),
        "What should a weight of zero give?",
    ),
    Mistake(
        "weight forgotten",
        "The vectors are normalised, but never scaled by weight.",
        (edit(" * weight", ""),),
        "Which of the three arguments does your function never read?",
    ),
    Mistake(
        "result left in float32",
        "The values are right, but the result stays float32 when x is bfloat16: cast the quotient "
        "back to x.dtype before the weight.",
        (
            edit(".to(x.dtype)", ""),
            edit(".to(x.dtype) * weight", ".to(x.dtype).float() * weight"),
        ),
        "x.dtype is where you came from; .to(x.dtype) brings you back.",
    ),
    Mistake(
        "works on x in place",
        "x.float() of a float32 x is x itself and no copy, so an operation that ends in an "
        "underscore changes the caller's tensor.",
        (
            edit(
                "return (wide / torch.sqrt(mean_square + eps))",
                "return (wide.div_(torch.sqrt(mean_square + eps)))",
            ),
            edit(
                "return (wide / torch.sqrt(mean_square + eps))",
                "return (wide.mul_(torch.rsqrt(mean_square + eps)))",
            ),
        ),
        "Leave the underscore away: wide / root makes a new tensor.",
    ),
)

EXERCISE = Exercise(
    name="rms_norm",
    lesson="04",
    title="RMSNorm",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Four steps, in this order: square, mean, root, divide. Which axis is the mean "
        "over, and where does epsilon go in?",
        outline="Widen x to float32. Take the mean of its squares along the last axis and keep "
        "that axis (keepdim=True). Add eps, take the root, divide the widened x by it. Cast the "
        "quotient to x.dtype, then multiply by weight.",
    ),
    difficulty="easy",
    importance="It stands before every attention, every feed-forward layer and the head.",
    minutes=20,
    setup="import torch\nfrom torch import Tensor",
    forbidden=("*rms_norm*", "*layer_norm*"),
    reference={"rms_norm": rms_norm},
)
