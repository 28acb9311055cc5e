"""Lesson 08, first part: a set of two functions. SiLU, and the layer that is gated by it."""

from __future__ import annotations

import math
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
    apply,
    edit,
)
from llama_course.checks.scripts import calls, gradients, normal, settled, shapes, spread_out

STARTER = '''
def silu(x: Tensor) -> Tensor:
    """Each number times its sigmoid: x / (1 + e^-x), component by component.

    x: of any shape, float32, bfloat16 or float16.

    The result has the shape and the dtype of x.
    It is computed in float32, and cast back to the dtype of x at the end.
    It is right for all numbers from -10,000 to 10,000: nothing overflows.
    Gradients flow to x, and they are right for all these numbers too.
    x is not changed.
    """
    raise NotImplementedError


def swiglu(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    """The feed-forward layer of LLaMA: two ways up, of which one is the gate, and one way down.

    x: (..., dim); there may be no axis before the last, and no vector at all.
    w1 (the gate) and w3 (up): (hidden, dim). w2 (down): (dim, hidden).
    All have one dtype: float32 or bfloat16.

    A weight has the shape (out, in): applied to a vector v of length in, it gives weight @ v.
    The gate is silu of w1 applied to x. Nothing else goes through silu.
    The hidden vector is the gate times w3 applied to x, component by component.
    The result is w2 applied to the hidden vector.
    It has the shape and the dtype of x.
    x, w1, w2 and w3 are not changed, and gradients flow to all four.
    """
    raise NotImplementedError
'''

SOLUTION = """
def silu(x: Tensor) -> Tensor:
    wide = x.float()
    sigmoid = torch.sigmoid(wide)
    product = wide * sigmoid
    return product.to(x.dtype)


def swiglu(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    gate = silu(x @ w1.T)  # (..., hidden)
    up = x @ w3.T  # (..., hidden)
    hidden = gate * up
    return hidden @ w2.T
"""

SILU = "Each number times its sigmoid: x / (1 + e^-x), component by component."
SILU_SHAPE = "The result has the shape and the dtype of x."
WIDE = "It is computed in float32, and cast back to the dtype of x at the end."
RANGE = "It is right for all numbers from -10,000 to 10,000: nothing overflows."
FLOW = "Gradients flow to x, and they are right for all these numbers too."
KEPT = "x is not changed."

VECTORS = "x: (..., dim); there may be no axis before the last, and no vector at all."
APPLIED = (
    "A weight has the shape (out, in): applied to a vector v of length in, it gives weight @ v."
)
GATE = "The gate is silu of w1 applied to x. Nothing else goes through silu."
TIMES = "The hidden vector is the gate times w3 applied to x, component by component."
DOWN = "The result is w2 applied to the hidden vector."
SHAPE = "It has the shape and the dtype of x."
INPUTS = "x, w1, w2 and w3 are not changed, and gradients flow to all four."

BF16, FP16 = torch.bfloat16, torch.float16
LN3 = math.log(3)  # its sigmoid is 3/4, and that of its negative 1/4
CURVE = Tolerance(1e-5, 2e-6, "float32: (1 + tanh(x / 2)) / 2 loses digits where x is negative")
FAR = Tolerance(1e-5, 1e-6, "far out on the left all that counts is that it is next to nothing")


def clear(dtype: torch.dtype, low: float, high: float, many: int = 120) -> Tensor:
    """Numbers of `dtype` all over a range, for which all right styles give the same bits.

    A margin of 2^-16 is what the style with tanh needs down to -4; tiny numbers are left out.
    """
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    x = x[(x >= low) & (x <= high) & (x.abs() > 2**-6)]
    wide = x.double()
    x = x[settled(wide * torch.sigmoid(wide), dtype, 2.0**-16)]
    return x[:: len(x) // many]


def mirrored(answer: Any) -> Iterator[tuple[str, Any]]:
    """The sigmoids of x and -x sum to one, so silu(x) - silu(-x) is x."""
    x = normal(64, seed=1, scale=3.0)
    yield "silu(x) - silu(-x)", answer.silu(x) - answer.silu(-x)


def weights(dim: int, hidden: int, seed: int, dtype: torch.dtype = torch.float32) -> Any:
    """Three weights, of a size that keeps vectors of ones at about one."""
    return (
        normal(hidden, dim, seed=seed, scale=1.5 * dim**-0.5, dtype=dtype),
        normal(dim, hidden, seed=seed + 1, scale=hidden**-0.5, dtype=dtype),
        normal(hidden, dim, seed=seed + 2, scale=1.5 * dim**-0.5, dtype=dtype),
    )


def layer(shape: tuple[int, ...], hidden: int, seed: int, **kind: Any) -> Any:
    """Arguments of swiglu: x of this shape, and three weights."""
    return (normal(*shape, seed=seed, **kind), *weights(shape[-1], hidden, seed + 1, **kind))


def scaled_ways(answer: Any) -> Iterator[tuple[str, Any]]:
    """Twice the way up is twice the result; twice the gate's weight is something else."""
    x, w1, w2, w3 = layer((3, 6), 10, 40)
    yield "the result", answer.swiglu(x, w1, w2, w3)
    yield "the result for twice w3", answer.swiglu(x, w1, w2, 2 * w3)
    yield "the result for twice w1", answer.swiglu(x, 2 * w1, w2, w3)


def one(*numbers: float) -> Tensor:
    """A matrix of one row."""
    return torch.tensor([list(numbers)])


def column(*numbers: float) -> Tensor:
    """A matrix of one column."""
    return torch.tensor(numbers)[:, None]


RESULT = "the result of swiglu"
LARGE = torch.tensor([-1e4, -5000.0, -700.0, -100.0, -89.0, -60.0, 60.0, 89.0, 100.0, 700.0, 1e4])

CASES = (
    Case("Shape and dtype stay, for any number of axes", "shape", SILU_SHAPE, "a lost axis, a sum",
         shapes("silu", (torch.tensor(1.5),), (normal(4, seed=2),), (normal(2, 3, 4, seed=3),)),
         part="silu"),
    Case("bfloat16 gives bfloat16", "shape", SILU_SHAPE, "a result that is left in float32",
         shapes("silu", (normal(2, 4, seed=4, dtype=BF16),)), dtype=BF16, part="silu"),
    Case("By hand: the sigmoid of ln 3 is 3/4, that of -ln 3 is 1/4, and 0 gives 0", "example",
         SILU, "the sigmoid alone, another curve, a wrong sign",
         calls("silu", torch.tensor([LN3, -LN3, 0.0])), part="silu",
         expect={"the result of silu": torch.tensor([0.75 * LN3, -0.25 * LN3, 0.0])}),
    Case("silu(x) - silu(-x) is x", "property", SILU, "something that is no sigmoid", mirrored,
         part="silu", tolerance=CURVE),
    Case("The reference's numbers in float32, from -12 to 12", "float32", SILU, "another curve",
         calls("silu", torch.linspace(-12, 12, 97)), part="silu", tolerance=CURVE),
    Case("Small numbers: the half of x", "float32", SILU, "a curve with another slope at zero",
         calls("silu", torch.tensor([1e-3, -1e-3, 1e-5, -1e-5, 2e-8])), part="silu",
         tolerance=Tolerance(1e-5, 1e-12, "float32, relative to small numbers")),
    Case("In bfloat16: float32 inside, one rounding at the end", "low precision", WIDE,
         "a sigmoid or a product in bfloat16", calls("silu", clear(BF16, -4.0, 16.0)), dtype=BF16,
         tolerance=EXACT, part="silu"),
    Case("In float16: float32 inside, one rounding at the end", "low precision", WIDE,
         "a sigmoid or a product in float16", calls("silu", clear(FP16, -4.0, 16.0)), dtype=FP16,
         tolerance=EXACT, part="silu"),
    Case("From -10,000 to 10,000", "edge", RANGE, "exp overflowing, infinity over infinity",
         calls("silu", LARGE), part="silu", tolerance=FAR),
    Case("From -10,000 to 10,000 in float16, where exp ends at 11", "edge", RANGE,
         "exp in float16", calls("silu", LARGE.to(FP16)), part="silu", tolerance=FAR, dtype=FP16),
    Case("Numbers that do not lie side by side in memory", "edge", SILU,
         "view() where the layout does not allow it",
         calls("silu", spread_out(normal(4, 3, seed=5)).T), part="silu", tolerance=CURVE),
    Case("No numbers at all", "edge", SILU_SHAPE, "a loop that needs one",
         calls("silu", torch.zeros(0, 4)), part="silu"),
    Case("x is afterwards what it was", "inputs", KEPT,
         "work in place: x.float() of a float32 tensor is x itself",
         calls("silu", normal(3, 4, seed=6)), part="silu", tolerance=CURVE),
    Case("Gradients near zero", "gradient", FLOW, "detach(), item()",
         gradients("silu", torch.linspace(-6, 6, 25)), part="silu", tolerance=LOOSE),
    Case("Gradients from -10,000 to 10,000: 0 on the left, 1 on the right", "gradient", FLOW,
         "zero times infinity on the way back", gradients("silu", LARGE), part="silu",
         tolerance=LOOSE),
    Case("One vector, several, and a batch of rows", "shape", SHAPE, "a lost axis",
         shapes("swiglu", layer((6,), 10, 10), layer((3, 6), 10, 11), layer((2, 3, 6), 4, 12)),
         part="swiglu"),
    Case("bfloat16 gives bfloat16", "shape", SHAPE, "a result that is left in float32",
         shapes("swiglu", layer((3, 6), 10, 13, dtype=BF16)), dtype=BF16, part="swiglu"),
    Case("By hand: one number, one hidden unit: silu(ln 3) = 0.824, times 2, times 10", "example",
         GATE, "gate and up swapped, no silu, silu of everything",
         calls("swiglu", torch.tensor([1.0]), one(LN3), one(10.0), one(2.0)), part="swiglu",
         expect={RESULT: torch.tensor([0.75 * LN3 * 20])}),
    Case("By hand: two hidden units, one almost open, one almost closed", "example", TIMES,
         "a sum in place of the product",
         calls("swiglu", torch.tensor([1.0]), column(20.0, -20.0), one(1.0, 1.0),
               column(3.0, 5.0)), part="swiglu",
         expect={RESULT: torch.tensor([60.0])}),
    Case("Gate 0 lets nothing through, whatever comes up", "property", TIMES,
         "anything added to the gate, a sigmoid for silu",
         calls("swiglu", normal(3, 6, seed=20), torch.zeros(10, 6), *weights(6, 10, 21)[1:]),
         part="swiglu"),
    Case("Twice w3 gives twice the result, twice w1 does not", "property", GATE,
         "gate and up swapped", scaled_ways, part="swiglu", tolerance=CURVE),
    Case("As many hidden units as components", "property", APPLIED,
         "a weight that is not transposed, or transposed for nothing",
         calls("swiglu", *layer((4, 6), 6, 22)), part="swiglu", tolerance=CURVE),
    Case("Each token alone, whatever its neighbours are", "property", VECTORS,
         "a layer that mixes tokens",
         calls("swiglu", normal(4, 6, seed=23) * torch.tensor([[1.0], [0.0], [9.0], [1e-3]]),
               *weights(6, 10, 24)), part="swiglu", tolerance=CURVE),
    Case("The reference's numbers in float32", "float32", DOWN, "anything else",
         calls("swiglu", *layer((2, 5, 48), 128, 25)), part="swiglu", tolerance=CURVE),
    Case("One hidden unit, and one component", "edge", APPLIED, "squeeze()",
         lambda answer: (
             (f"{RESULT} for {hidden} units", answer.swiglu(*layer((3, dim), hidden, 26)))
             for dim, hidden in ((4, 1), (1, 5), (1, 1))
         ), part="swiglu", tolerance=CURVE),
    Case("Large vectors", "edge", GATE, "another curve than silu, far out",
         calls("swiglu", normal(3, 6, seed=27) * 300, *weights(6, 10, 28)), part="swiglu",
         tolerance=Tolerance(1e-4, 0.05, "results near 10,000 that cancel in part")),
    Case("A batch without a single vector", "edge", VECTORS, "a loop that needs at least one",
         calls("swiglu", torch.zeros(0, 6), *weights(6, 10, 29)), part="swiglu"),
    Case("Tensors that do not lie side by side in memory", "edge", APPLIED,
         "view() where the layout does not allow it",
         calls("swiglu", spread_out(normal(2, 3, 6, seed=30)).transpose(0, 1),
               *(spread_out(w) for w in weights(6, 10, 31))), part="swiglu", tolerance=CURVE),
    Case("x, w1, w2 and w3 are afterwards what they were", "inputs", INPUTS, "work in place",
         calls("swiglu", *layer((2, 3, 6), 10, 32)), part="swiglu", tolerance=CURVE),
    Case("Gradients flow to x and to the three weights", "gradient", INPUTS, "detach(), item()",
         gradients("swiglu", *layer((2, 3, 6), 10, 33)), part="swiglu", tolerance=LOOSE),
)  # fmt: skip

WIDEN, SIGMOID = "wide = x.float()", "torch.sigmoid(wide)"
PRODUCT, CAST = "product = wide * sigmoid", "product.to(x.dtype)"
GATED, UP = "gate = silu(x @ w1.T)", "up = x @ w3.T"
HIDDEN, RETURN = "hidden = gate * up", "return hidden @ w2.T"
ERF = "0.5 * wide * (1 + torch.erf(wide / 2**0.5))"
TANH = "0.5 * wide * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (wide + 0.044715 * wide**3)))"
GELU = "0.5 * ({0}) * (1 + torch.erf(({0}) / 2**0.5))".format("x @ w1.T")


def curve(expression: str) -> str:
    """silu with another curve: a text of its own, for nothing of the solution is left."""
    return apply(edit(PRODUCT, f"product = {expression}"), SOLUTION)


def alone(*replacements: str) -> str:
    """A changed solution as a text of its own, for what hides other changes or undoes them.

    Two mistakes at once are made of edits.
    """
    return apply(edit(*replacements), SOLUTION)


MISTAKES = (
    Mistake(
        "sigmoid only",
        "The sigmoid is returned, between 0 and 1; SiLU is x times its sigmoid.",
        (curve("sigmoid"), curve("1 / (1 + torch.exp(-wide))")),
        "What should 0 give, and what 100?",
    ),
    Mistake(
        "plain ReLU",
        "Negative numbers become 0 and the others stay: that is ReLU. SiLU is smooth, and slightly "
        "below 0 where x is negative.",
        (
            curve("wide.clamp(min=0)"),
            curve("wide * (wide > 0)"),
            curve("torch.maximum(wide, torch.zeros_like(wide))"),
        ),
        "What should -ln 3 give?",
    ),
    Mistake(
        "GELU",
        "x is multiplied by the normal distribution's share below it; that is GELU, of GPT-2 and "
        "BERT. SiLU has the sigmoid in its place.",
        (curve(ERF), curve("torch.nn.functional.gelu(wide)")),
        "The sigmoid of ln 3 is 3/4. Which number do you multiply by?",
    ),
    Mistake(
        "GELU by tanh",
        "The formula with tanh and 0.044715 is an approximation of GELU, which is another curve.",
        (curve(TANH), curve("torch.nn.functional.gelu(wide, approximate='tanh')")),
        "Which constants does x / (1 + e^-x) have?",
    ),
    Mistake(
        "sigmoid of 1.702 x",
        "The factor 1.702 turns SiLU into an approximation of GELU; LLaMA has no factor.",
        (curve("wide * torch.sigmoid(1.702 * wide)"),),
        "Which constants does x / (1 + e^-x) have?",
    ),
    Mistake(
        "sigmoid of 2 x",
        "In (1 + tanh(x / 2)) / 2 the x is halved before tanh. Without that it is the sigmoid of "
        "twice x.",
        (
            curve("wide * torch.sigmoid(2 * wide)"),
            curve("0.5 * wide * (1 + torch.tanh(wide))"),
        ),
        "The sigmoid of ln 3 is 3/4. What is yours?",
    ),
    Mistake(
        "sign in the exponent",
        "The exponent has the wrong sign, so large numbers are closed off and negative ones let "
        "through.",
        (
            curve("wide * torch.sigmoid(-wide)"),
            curve("wide / (1 + torch.exp(wide))"),
        ),
        "What should 100 give?",
    ),
    Mistake(
        "hard swish",
        "The sigmoid is replaced by straight lines, as on telephones: clip(x + 3, 0, 6) / 6.",
        (
            curve("wide * (wide + 3).clamp(0, 6) / 6"),
            curve("torch.nn.functional.hardswish(wide)"),
            alone(WIDEN, "wide = x", PRODUCT, "product = torch.nn.functional.hardswish(wide)"),
        ),
        "What should -ln 3 give?",
    ),
    Mistake(
        "parentheses missing",
        "x / 1 + e^-x is x plus an exponential: the division comes before the sum. The parentheses "
        "of x / (1 + e^-x) are missing.",
        (
            curve("wide / 1 + torch.exp(-wide)"),
            alone(WIDEN, "wide = x", PRODUCT, "product = wide / 1 + torch.exp(-wide)"),
        ),
        "What does Python make of 6 / 1 + 2?",
    ),
    Mistake(
        "tanh for the sigmoid",
        "x is multiplied by tanh(x), which is between -1 and 1; a sigmoid is between 0 and 1.",
        (curve("wide * torch.tanh(wide)"),),
        "What should -100 give?",
    ),
    Mistake(
        "softplus",
        "ln(1 + e^x) is softplus, whose slope is the sigmoid. SiLU is x times the sigmoid.",
        (
            curve("torch.nn.functional.softplus(wide)"),
            curve("torch.log1p(torch.exp(wide))"),
            curve("torch.log(1 + torch.exp(wide))"),
        ),
        "What should 0 give?",
    ),
    Mistake(
        "overflowing SiLU",
        "e^x is taken of large numbers: from 89 on it is infinite in float32, and infinity over "
        "infinity is not a number.",
        (
            curve("wide * torch.exp(wide) / (1 + torch.exp(wide))"),
            curve("wide * (torch.exp(wide) / (1 + torch.exp(wide)))"),
            curve("wide * torch.exp(wide) / (torch.exp(wide) + 1) * 1.0"),
            curve("wide * torch.exp(wide) * (1 / (1 + torch.exp(wide)))"),
            curve("(wide * torch.exp(wide) / (1 + torch.exp(wide))).nan_to_num()"),
        ),
        "What is torch.tensor(100.0).exp()? Can you write it with e^-x?",
    ),
    Mistake(
        "overflow in the gradient",
        "The values are right, but on the way back an exponential is infinite, beyond 88, and is "
        "multiplied by zero: the gradient is nan, also where torch.where has chosen the other "
        "branch. torch.sigmoid has a gradient that is safe.",
        (
            curve("wide / (1 + torch.exp(-wide))"),
            curve("wide * (1 / (1 + torch.exp(-wide)))"),
            curve("wide / (1 + torch.exp(-wide.clamp(min=-100)))"),
            curve("torch.where(wide > 80, wide, wide * torch.exp(wide) / (1 + torch.exp(wide)))"),
            curve("torch.where(wide >= 0, wide / (1 + torch.exp(-wide)), wide * torch.exp(wide) / "
                  "(1 + torch.exp(wide)))"),
            curve("torch.where(wide > 0, wide / (1 + torch.exp(-wide)), wide * torch.exp(wide) / "
                  "(1 + torch.exp(wide)))"),
        ),
        "Ask autograd for the gradient at -100.",
    ),
    Mistake(
        "clipped",
        "x is clipped before or after, which keeps exp from overflowing but changes large numbers; "
        "clip the exponent alone, or use torch.sigmoid.",
        tuple(
            edit(WIDEN, f"wide = x.float().clamp({low}, {high})")
            for low, high in ((-10, 10), (-20, 20), (-50, 50), (-80, 80), (-88, 88), (-100, 100))
        ),
        "What should 10,000 give?",
    ),
    Mistake(
        "exponent clipped too tightly",
        "The exponent is clipped, which is safe, but so tightly that far out on the left a rest of "
        "x is let through. e^-x may grow to e^80 before float32 ends.",
        tuple(
            curve(f"wide / (1 + torch.exp(-wide.clamp({limits})))")
            for n in (5, 6, 10, 15, 20)
            for limits in (f"min=-{n}", f"-{n}, {n}")
        ),
        "What is 10,000 / (1 + e^20)?",
    ),
    Mistake(
        "not in float32",
        "The sigmoid or the product is computed in the dtype of x and rounded on the way; widen x "
        "first, and cast once at the end.",
        (
            edit(WIDEN, "wide = x"),
            edit(SIGMOID, "torch.sigmoid(x)"),
            edit(PRODUCT, "product = x * sigmoid.to(x.dtype)"),
            edit(PRODUCT, "product = x * sigmoid.to(x.dtype)", SIGMOID,
                 "1 / (1 + torch.exp(-x.float().clamp(min=-80)))"),
            *(
                alone(WIDEN, "wide = x", PRODUCT, f"product = {text}")
                for text in (
                    "wide / (1 + torch.exp(-wide))",
                    "wide * (1 / (1 + torch.exp(-wide)))",
                    "wide * torch.exp(wide) / (1 + torch.exp(wide))",
                    "wide * (torch.exp(wide) / (1 + torch.exp(wide)))",
                    "0.5 * wide * (1 + torch.tanh(wide / 2))",
                    "wide * (1 + torch.tanh(wide / 2)) / 2",
                )
            ),
        ),
        "How many roundings to bfloat16 do your lines make?",
    ),
    Mistake(
        "result left in float32",
        "The result stays float32 where x is bfloat16: cast it back.",
        (edit(CAST, "product"),),
        "x.dtype is where you came from.",
    ),
    Mistake(
        "works on x in place",
        "x.float() of a float32 x is x itself and no copy, so an operation with an underscore "
        "changes the caller's tensor.",
        (edit(PRODUCT, "product = wide.mul_(sigmoid)"),),
        "Leave the underscore away.",
    ),
    Mistake(
        "gate and up swapped",
        "w3 applied to x goes through silu, and w1 does not. A model that you train yourself does "
        "not mind; one that somebody else has trained does.",
        (edit(GATED, "gate = x @ w1.T", UP, "up = silu(x @ w3.T)"),),
        "Which of the two is the gate?",
    ),
    Mistake(
        "SiLU on the product",
        "Gate and up are multiplied first, and silu comes after; silu belongs to the gate alone.",
        (edit(GATED, "gate = x @ w1.T", HIDDEN, "hidden = silu(gate * up)"),),
        "Twice w3 should give twice the result. Does it?",
    ),
    Mistake(
        "SiLU on both",
        "Both ways go through silu; the way up is used as it is.",
        (edit(UP, "up = silu(x @ w3.T)"),),
        "Twice w3 should give twice the result. Does it?",
    ),
    Mistake(
        "no SiLU",
        "The two ways are multiplied as they are. That layer has a name, bilinear, but LLaMA's "
        "gate goes through silu.",
        (alone(GATED, "gate = x @ w1.T"),),
        "Which function from above do you not call?",
    ),
    Mistake(
        "neither gate nor SiLU",
        "One way up and the way down are all there is. Two weights in a row, with nothing between "
        "them, can do no more than a single one.",
        (alone(HIDDEN, "hidden = up"), alone(HIDDEN, "hidden = x @ w1.T")),
        "What bends the line from x to the result?",
    ),
    Mistake(
        "SiLU times its input",
        "w1 applied to x is multiplied by its silu, as if silu were the sigmoid alone. silu "
        "already is the number times its sigmoid, and is the whole gate.",
        (
            edit(GATED, "gate = (x @ w1.T) * silu(x @ w1.T)"),
        ),
        "How often does w1 applied to x occur in your product, the sigmoid's not counted?",
    ),
    Mistake(
        "SiLU of the weight",
        "silu is taken of the numbers in w1. It belongs to what w1 gives for a vector.",
        (edit(GATED, "gate = x @ silu(w1).T"),),
        "What is the gate where x is zero, and what where x doubles?",
    ),
    Mistake(
        "multiplied after the way down",
        "Each way is led down by w2 on its own, and the two are multiplied there. Gate and way up "
        "meet before, unit by unit.",
        (
            edit(HIDDEN, "hidden = gate", RETURN, "return (hidden @ w2.T) * (up @ w2.T)"),
        ),
        "How many numbers have gate and up when you multiply them: hidden, or dim?",
    ),
    Mistake(
        "no way down",
        "The hidden vector is returned, and w2 is never used.",
        (edit(RETURN, "return hidden"),),
        "How long should the result be: hidden, or dim?",
    ),
    Mistake(
        "no gate",
        "One way up is missing: the layer is silu, then down, as in a transformer without gates.",
        (alone(HIDDEN, "hidden = gate"), alone(HIDDEN, "hidden = silu(up)")),
        "Which of the three weights does your function never read?",
    ),
    Mistake(
        "sum for product",
        "Gate and up are added; they are multiplied, so that a gate of 0 lets nothing through.",
        (edit(HIDDEN, "hidden = gate + up"),),
        "What should come out where the gate is 0?",
    ),
    Mistake(
        "sigmoid for SiLU",
        "The gate is a sigmoid, as in the first gated layers (GLU); LLaMA's is silu.",
        (edit(GATED, "gate = torch.sigmoid(x @ w1.T)"),),
        "What should come out where w1 applied to x is 0?",
    ),
    Mistake(
        "ReLU for SiLU",
        "The gate is a ReLU (the layer is then called ReGLU); LLaMA's is silu.",
        (edit(GATED, "gate = (x @ w1.T).clamp(min=0)"),),
        "Does a gate that is slightly negative let anything through?",
    ),
    Mistake(
        "GELU for SiLU",
        "The gate is a GELU (the layer is then called GEGLU); LLaMA's is silu.",
        (
            edit(GATED, f"gate = {GELU}"),
            edit(GATED, "gate = torch.nn.functional.gelu(x @ w1.T)"),
            edit(GATED, "gate = torch.nn.functional.gelu(x @ w1.T, approximate='tanh')"),
        ),
        "Which function from above do you not call?",
    ),
    Mistake(
        "SiLU before the weight",
        "silu is taken of x, and w1 comes after it; first the weight, then silu.",
        (edit(GATED, "gate = silu(x) @ w1.T"),),
        "How many numbers go through silu: dim, or hidden?",
    ),
    Mistake(
        "SiLU at the end",
        "silu stands after w2, or there as well; what leaves the layer is added to the stream as "
        "it is.",
        (
            edit(GATED, "gate = x @ w1.T", RETURN, "return silu(hidden @ w2.T)"),
            edit(RETURN, "return silu(hidden @ w2.T)"),
        ),
        "Can your layer take away from the stream as much as it can add?",
    ),
    Mistake(
        "weight not transposed",
        "A weight is used the wrong way round. It has the shape (out, in), so vectors in rows are "
        "multiplied by its transpose: x @ w.T.",
        (
            edit(GATED, "gate = silu(x @ w1)"),
            edit(UP, "up = x @ w3"),
            edit(RETURN, "return hidden @ w2"),
            edit(GATED, "gate = silu(x @ w1)", UP, "up = x @ w3"),
            edit(GATED, "gate = silu(x @ w1)", UP, "up = x @ w3", RETURN, "return hidden @ w2"),
        ),
        "Write down the shapes from left to right.",
    ),
    Mistake(
        "weight before the vectors",
        "w @ x is right for a single vector. Several stand in rows, so the weight comes after "
        "them, transposed: x @ w.T.",
        tuple(
            alone(GATED, f"gate = silu(w1 @ {v})", UP, f"up = w3 @ {v}", RETURN, f"return {out}")
            for v, out in (
                ("x", "w2 @ hidden"),
                ("x.T", "w2 @ hidden"),
                ("x.T", "(w2 @ hidden).T"),
                ("x", "hidden @ w2.T"),
                ("x.T", "hidden.T @ w2.T"),
            )
        ),
        "(10, 6) @ (3, 6): which two numbers should be equal, and are not?",
    ),
    Mistake(
        "w2 and w3 swapped",
        "w2 and w3 have changed places: w2 leads down, from hidden to dim. With both transposed "
        "the shapes only fit where hidden equals dim; with neither they fit, and the result is "
        "wrong.",
        (
            alone(UP, "up = x @ w2.T", RETURN, "return hidden @ w3.T"),
            alone(UP, "up = x @ w2", RETURN, "return hidden @ w3"),
        ),
        "Which of the three weights has the shape (dim, hidden)?",
    ),
    Mistake(
        "w1 and w2 swapped",
        "w1 and w2 have changed places: w1 is the gate and leads up, w2 leads down.",
        (
            alone(GATED, "gate = silu(x @ w2.T)", RETURN, "return hidden @ w1.T"),
            alone(GATED, "gate = silu(x @ w2)", RETURN, "return hidden @ w1"),
        ),
        "Which of the three weights has the shape (dim, hidden)?",
    ),
    Mistake(
        "one weight for both ways",
        "Gate and way up are made by the same weight.",
        (alone(UP, "up = x @ w1.T"), alone(GATED, "gate = silu(x @ w3.T)")),
        "Which of the three weights does your function never read?",
    ),
    Mistake(
        "residual added",
        "x is added to the result. The block does that, once, outside this function.",
        (edit(RETURN, "return x + hidden @ w2.T"),),
        "What should a gate of 0 give?",
    ),
    Mistake(
        "layer in float32",
        "The weights are widened to float32 and the result is not cast back to the dtype of x.",
        (
            edit(GATED, "gate = silu(x.float() @ w1.float().T)", UP, "up = x.float() @ "
                 "w3.float().T", RETURN, "return hidden @ w2.float().T"),
            edit(RETURN, "return (hidden @ w2.T).float()"),
        ),
        "Print the dtype of your result for bfloat16.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="feed_forward",
    lesson="08",
    title="SiLU and SwiGLU",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="silu: x times a number between 0 and 1. swiglu: write the shapes down, from x to "
        "the result, and see which weight can stand where.",
        outline="silu: widen to float32, multiply by torch.sigmoid, cast back. swiglu: "
        "silu(x @ w1.T) is the gate, x @ w3.T comes up; multiply the two, then @ w2.T.",
    ),
    difficulty="easy",
    importance="Two thirds of the parameters of each block stand in this layer.",
    minutes=20,
    setup="import torch\nfrom torch import Tensor",
    forbidden=("*silu*", "*glu"),
)
