"""Appendix A2: a set of functions. Softmax, and the logarithm that keeps it from overflowing."""

from __future__ import annotations

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
from llama_course.checks.scripts import calls, fair, gradients, normal, shapes, spread_out

STARTER = '''
def log_sum_exp(x: Tensor) -> Tensor:
    """The logarithm of the sum of the exponentials, over the last axis.

    x: (..., n), float32 or bfloat16. The result is (...), with the dtype of x.
    It is right for all finite numbers, however large or small: nothing overflows.
    It is computed in float32 and cast back at the end.
    x is not changed, and gradients flow to it.
    """
    raise NotImplementedError


def softmax(x: Tensor) -> Tensor:
    """Exponentials over their sum, along the last axis: numbers above zero that sum to one.

    x: (..., n), float32 or bfloat16. The result has the shape and the dtype of x.
    It is right for all finite numbers, large or small, and minus infinity gives 0.
    It is computed in float32 and cast back at the end.
    x is not changed, and gradients flow to it.
    """
    raise NotImplementedError
'''

SOLUTION = """
def log_sum_exp(x: Tensor) -> Tensor:
    wide = x.float()
    largest = wide.amax(dim=-1, keepdim=True)
    total = torch.exp(wide - largest).sum(dim=-1)
    return (torch.log(total) + largest.squeeze(-1)).to(x.dtype)


def softmax(x: Tensor) -> Tensor:
    scores = x.float()
    return torch.exp(scores - log_sum_exp(scores).unsqueeze(-1)).to(x.dtype)
"""

LSE = "The logarithm of the sum of the exponentials, over the last axis."
LSE_SHAPE = "The result is (...), with the dtype of x."
LSE_RANGE = "It is right for all finite numbers, however large or small: nothing overflows."
SOFT = "Exponentials over their sum, along the last axis: numbers above zero that sum to one."
SOFT_SHAPE = "The result has the shape and the dtype of x."
SOFT_RANGE = "It is right for all finite numbers, large or small, and minus infinity gives 0."
WIDE = "It is computed in float32 and cast back at the end."
INPUTS = "x is not changed, and gradients flow to it."

BF16 = torch.bfloat16
NEAR_1000 = Tolerance(1e-4, 1e-7, "float32 numbers near 1000 are 6e-5 apart")
MARGIN = 2.0**-18  # float32 exponentials of differences near 10 lose two bits more


def clear(function: object, *shape: int) -> Tensor:
    """A bfloat16 input for which the results are clear of rounding boundaries."""

    def exact(x: Tensor) -> Tensor:
        return torch.softmax(x, -1) if function == "softmax" else torch.logsumexp(x, -1)

    def make(seed: int) -> Tensor:
        # The sum of the exponentials comes out near one: its logarithm is small, and small numbers
        # show what was lost in the sum.
        return (normal(*shape, seed=seed) - 3.5).to(BF16)

    return fair(make, exact, BF16, MARGIN)


CASES = (
    Case("The last axis goes, the others stay", "shape", LSE_SHAPE, "a kept axis, a lost one",
         shapes("log_sum_exp", (normal(4, seed=1),), (normal(2, 3, 4, seed=2),)),
         part="log_sum_exp"),
    Case("By hand: log(1 + 1 + 2)", "example", LSE, "base of the logarithm, the sum forgotten",
         calls("log_sum_exp", torch.tensor([0.0, 0.0, 0.693147])), part="log_sum_exp",
         expect={"the result of log_sum_exp": torch.tensor(1.386294)}),
    Case("Adding 5 to every number adds 5 to the result, row by row", "property", LSE,
         "a maximum that is not added again, or is taken over all rows",
         calls("log_sum_exp", torch.tensor([[1.0, 2.0], [6.0, 7.0], [-30.0, -30.0]])),
         part="log_sum_exp"),
    Case("The reference's numbers in float32", "float32", LSE, "anything else",
         calls("log_sum_exp", normal(3, 5, 16, seed=3, scale=3.0)), part="log_sum_exp"),
    Case("In bfloat16: float32 inside", "low precision", WIDE, "sums in bfloat16",
         calls("log_sum_exp", clear("log_sum_exp", 12, 24)), dtype=BF16, tolerance=EXACT,
         part="log_sum_exp"),
    Case("Numbers near 1000, and near -1000", "edge", LSE_RANGE, "overflow without the maximum",
         calls("log_sum_exp",
               torch.tensor([[1000.0, 999.0], [-1000.0, -999.0], [1000.0, -1000.0]])),
         part="log_sum_exp"),
    Case("One number, and numbers with gaps between them in memory", "edge", LSE,
         "an axis squeezed away too many",
         shapes("log_sum_exp", (torch.tensor([2.0]),), (torch.ones(1, 1, 1),),
                (torch.ones(3, 1, 4),), (spread_out(normal(2, 3, seed=4)).T,)), part="log_sum_exp"),
    Case("x is afterwards what it was", "inputs", INPUTS, "work in place",
         calls("log_sum_exp", normal(3, 4, seed=5)), part="log_sum_exp"),
    Case("Gradients flow to x", "gradient", INPUTS, "detach(), item()",
         gradients("log_sum_exp", normal(3, 4, seed=6)), tolerance=LOOSE, part="log_sum_exp"),
    Case("The result has the shape and the dtype of x", "shape", SOFT_SHAPE, "a lost axis",
         shapes("softmax", (normal(4, seed=7),), (normal(2, 3, 4, seed=8),)), part="softmax"),
    Case("By hand: e^0, e^0 and e^log 2 are 1, 1 and 2", "example", SOFT,
         "exponentials that are not divided by their sum",
         calls("softmax", torch.tensor([0.0, 0.0, 0.693147])), part="softmax",
         expect={"the result of softmax": torch.tensor([0.25, 0.25, 0.5])}),
    Case("Every row sums to one by itself", "property", SOFT, "another axis",
         calls("softmax", torch.tensor([[[1.0, 2.0], [6.0, 8.0]], [[0.0, -3.0], [2.0, 2.0]]])),
         part="softmax"),
    Case("The reference's numbers in float32", "float32", SOFT, "anything else",
         calls("softmax", normal(3, 5, 16, seed=9, scale=3.0)), part="softmax"),
    Case("In bfloat16: float32 inside", "low precision", WIDE, "exponentials in bfloat16",
         calls("softmax", clear("softmax", 4, 24)), dtype=BF16, tolerance=EXACT, part="softmax"),
    Case("Numbers near 1000, and near -1000", "edge", SOFT_RANGE, "overflow without the maximum",
         calls("softmax", torch.tensor([[1000.0, 999.0], [-1000.0, -999.0], [1000.0, -1000.0]])),
         tolerance=NEAR_1000, part="softmax"),
    Case("Minus infinity gives exactly 0", "edge", SOFT_RANGE, "minus infinity that spreads as NaN",
         calls("softmax", torch.tensor([[0.0, -torch.inf, 1.0], [-torch.inf, -torch.inf, 2.0]])),
         part="softmax"),
    Case("x is afterwards what it was", "inputs", INPUTS, "work in place",
         calls("softmax", normal(3, 4, seed=10)), part="softmax"),
    Case("Gradients flow to x", "gradient", INPUTS, "detach(), item()",
         gradients("softmax", normal(3, 4, seed=11)), tolerance=LOOSE, part="softmax"),
)  # fmt: skip

LOG = "(torch.log(total) + largest.squeeze(-1)).to(x.dtype)"
EXPONENTIAL = "torch.exp(scores - log_sum_exp(scores).unsqueeze(-1)).to(x.dtype)"

MISTAKES = (
    Mistake(
        "overflow without the maximum",
        "The exponentials are taken of the numbers as they are, and e^1000 is infinite; subtract "
        "the largest first, and add it again after the logarithm.",
        (edit("wide - largest", "wide", " + largest.squeeze(-1)", ""),),
        "log(e^a + e^b) = m + log(e^(a-m) + e^(b-m)) for every m. Which m is safe?",
    ),
    Mistake(
        "largest not added again",
        "The largest number is subtracted before the exponentials, but not added after the "
        "logarithm.",
        (edit(" + largest.squeeze(-1)", ""),),
        "What should be the result for two numbers of 1000?",
    ),
    Mistake(
        "largest subtracted twice",
        "The largest number is subtracted after the logarithm; it has to be added.",
        (edit("+ largest.squeeze(-1)", "- largest.squeeze(-1)"),),
        "Taking a factor e^m out of a sum adds m to its logarithm.",
    ),
    Mistake(
        "base of the logarithm",
        "The logarithm has base 2 or 10; e is the base that undoes exp.",
        (edit("torch.log(total)", "torch.log2(total)"),
         edit("torch.log(total)", "torch.log10(total)")),
        "What is log_sum_exp of a single number?",
    ),
    Mistake(
        "mean for sum",
        "The mean of the exponentials is taken; the result is too small by log n.",
        (edit(".sum(dim=-1)", ".mean(dim=-1)"),),
        "What should be the result for two zeros?",
    ),
    Mistake(
        "logarithm forgotten",
        "The sum of the exponentials is returned without its logarithm.",
        (edit("torch.log(total) + largest.squeeze(-1)", "total * torch.exp(largest.squeeze(-1))"),),
        "Read the function's name from right to left.",
    ),
    Mistake(
        "sums in bfloat16",
        "Everything is computed in the dtype of x; in bfloat16 the sum has three digits.",
        (edit("wide = x.float()", "wide = x"),),
        "Where does float32 come in?",
    ),
    Mistake(
        "softmax overflows",
        "The exponentials are taken of the numbers as they are: e^1000 is infinite, and infinity "
        "over infinity is not a number.",
        (edit(EXPONENTIAL, "(scores.exp() / scores.exp().sum(-1, keepdim=True)).to(x.dtype)"),),
        "Subtract something first that leaves the quotient as it is.",
    ),
    Mistake(
        "softmax over the wrong axis",
        "The sum runs over another axis than the last, so that columns and not rows sum to one.",
        (edit(EXPONENTIAL, "(scores.exp() / scores.exp().sum(0, keepdim=True)).to(x.dtype)"),
         edit(EXPONENTIAL, "torch.exp(scores - log_sum_exp(scores.transpose(0, -1)).unsqueeze(-1)"
              ".transpose(0, -1)).to(x.dtype)"),
         edit(EXPONENTIAL, "torch.exp(scores - log_sum_exp(scores.mT).unsqueeze(-2)).to(x.dtype)")),
        "Which sums should be one for a tensor of shape (2, 3, 4)?",
    ),
    Mistake(
        "one sum for everything",
        "The sum runs over the whole tensor, so that all rows together sum to one.",
        (edit(EXPONENTIAL, "torch.exp(scores - log_sum_exp(scores.flatten())).to(x.dtype)"),),
        "Which sums should be one for a tensor of shape (2, 3, 4)?",
    ),
    Mistake(
        "not divided",
        "The exponentials are taken after subtracting the largest number, but they are not divided "
        "by their sum.",
        (edit(EXPONENTIAL, "torch.exp(scores - scores.amax(-1, keepdim=True)).to(x.dtype)"),),
        "What do the numbers of a row sum to?",
    ),
    Mistake(
        "log-softmax",
        "The logarithms of the probabilities are returned; the exponential is missing.",
        (edit(EXPONENTIAL, "(scores - log_sum_exp(scores).unsqueeze(-1)).to(x.dtype)"),),
        "Can a probability be negative?",
    ),
    Mistake(
        "softmax in bfloat16",
        "The exponentials are computed in the dtype of x; in bfloat16 they have three digits.",
        (edit("scores = x.float()", "scores = x"),
         edit("scores = x.float()", "scores = x", EXPONENTIAL,
              "torch.exp(scores - scores.amax(-1, keepdim=True)) / torch.exp("
              "scores - scores.amax(-1, keepdim=True)).sum(-1, keepdim=True)")),
        "Where does float32 come in?",
    ),
    Mistake(
        "powers of two",
        "The powers have the base 2; softmax has the base e.",
        (edit(EXPONENTIAL, "(2 ** (scores - scores.amax(-1, keepdim=True)) / (2 ** (scores - "
              "scores.amax(-1, keepdim=True))).sum(-1, keepdim=True)).to(x.dtype)"),),
        "How many times as probable is a score that is larger by one?",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="softmax",
    lesson="A2",
    title="Softmax without overflow",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="e^1000 is infinite in float32, but log(e^1000) is 1000. What can you subtract from "
        "every number, so that no exponential is above one, and how do you make up for it?",
        outline="Take the largest number of each row (keepdim=True), the exponentials of the "
        "differences to it, their sum, its logarithm, and add the largest again. softmax is then "
        "exp(x - log_sum_exp(x)).",
    ),
    difficulty="medium",
    importance="Attention (lesson 06), the loss (03) and sampling (14) all rest on it.",
    minutes=20,
    setup="import torch\nfrom torch import Tensor",
    forbidden=("*softmax*", "*logsumexp*", "*logaddexp*", "*cross_entropy*", "*softmin*"),
)
