"""Appendix A1: a class with state. The mean of all vectors so far, without keeping them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from llama_course.checks.exercise import Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import normal, spread_out

STARTER = '''
class RunningMean:
    """The mean of all vectors so far, without keeping the vectors.

    Each object counts for itself.
    """

    def __init__(self, dim: int):
        """Start with no vectors; each will have `dim` components."""
        raise NotImplementedError

    def update(self, x: Tensor):
        """Take in one vector (dim,) or several (n, dim), of any float dtype.

        Every vector counts once, whether it comes alone or with others.
        The sums are taken in float32, whatever the dtype of x.
        x is not changed.
        """
        raise NotImplementedError

    def value(self) -> Tensor:
        """Return the mean of all vectors so far: (dim,), float32.

        Before the first vector it is zeros.
        Reading it changes nothing, and what was read stays as it was at later updates.
        """
        raise NotImplementedError
'''

SOLUTION = """
class RunningMean:
    def __init__(self, dim: int):
        self.total = torch.zeros(dim)
        self.count = 0

    def update(self, x: Tensor):
        rows = x.reshape(-1, x.shape[-1]).float()
        self.total = self.total + rows.sum(dim=0)
        self.count += rows.shape[0]

    def value(self) -> Tensor:
        return self.total / max(self.count, 1)
"""

MEAN = "Return the mean of all vectors so far: (dim,), float32."
ONCE = "Every vector counts once, whether it comes alone or with others."
STAYS = "Reading it changes nothing, and what was read stays as it was at later updates."
WIDE = "The sums are taken in float32, whatever the dtype of x."

Steps = Iterator[tuple[str, Any]]


def shape_of_value(answer: Any) -> Steps:
    mean = answer.RunningMean(3)
    mean.update(torch.ones(3))
    yield "value()", torch.zeros_like(mean.value())


def by_hand(answer: Any) -> Steps:
    mean = answer.RunningMean(2)
    mean.update(torch.tensor([2.0, 4.0]))
    yield "value() after [2, 4]", mean.value()
    mean.update(torch.tensor([4.0, 8.0]))
    yield "value() after [4, 8] as well", mean.value()
    mean.update(torch.tensor([0.0, 0.0]))
    yield "value() after [0, 0] as well", mean.value()


def in_groups(answer: Any) -> Steps:
    mean = answer.RunningMean(1)
    mean.update(torch.tensor([[1.0], [2.0], [3.0]]))
    mean.update(torch.tensor([10.0]))
    yield "value() after three vectors and one", mean.value()


def read_twice(answer: Any) -> Steps:
    mean = answer.RunningMean(2)
    mean.update(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    yield "value() the first time", mean.value()
    yield "value() the second time", mean.value()
    mean.update(torch.tensor([8.0, 0.0]))
    yield "value() after one more vector", mean.value()


def two_objects(answer: Any) -> Steps:
    one, other = answer.RunningMean(2), answer.RunningMean(2)
    one.update(torch.tensor([5.0, 5.0]))
    yield "value() of the other", other.value()
    other.update(torch.tensor([1.0, 3.0]))
    yield "value() of the one", one.value()
    yield "value() of the other, after its own vector", other.value()


def against_the_reference(answer: Any) -> Steps:
    mean = answer.RunningMean(16)
    for step in range(6):
        mean.update(normal(step + 1, 16, seed=step) + step)
        yield f"value() after update {step + 1}", mean.value()


def in_bfloat16(answer: Any) -> Steps:
    mean = answer.RunningMean(4)
    mean.update(torch.ones(301, 4, dtype=torch.bfloat16))
    mean.update(torch.tensor([0.5, 0.25, 1.0, 2.0], dtype=torch.bfloat16))
    yield "value() after 302 bfloat16 vectors", mean.value()


def empty(answer: Any) -> Steps:
    mean = answer.RunningMean(3)
    yield "value() before the first vector", mean.value()
    mean.update(torch.zeros(0, 3))
    yield "value() after an update without vectors", mean.value()


def spread(answer: Any) -> Steps:
    mean = answer.RunningMean(4)
    mean.update(spread_out(normal(4, 3, seed=20)).T)
    yield "value()", mean.value()


def inputs(answer: Any) -> Steps:
    mean = answer.RunningMean(4)
    mean.update(normal(4, seed=21))
    mean.update(normal(2, 4, seed=22))
    yield "value()", mean.value()


def later_changes(answer: Any) -> Steps:
    mean = answer.RunningMean(2)
    x = answer.hold(torch.tensor([1.0, 2.0]))
    mean.update(x)
    x.zero_()
    mean.update(torch.tensor([3.0, 4.0]))
    yield "value() after the caller has changed its tensor", mean.value()


CASES = (
    Case("value() has the shape (dim,)", "shape", MEAN, "a scalar, a kept batch axis",
         shape_of_value),
    Case("By hand: [2, 4], then [4, 8], then [0, 0]", "example", MEAN,
         "the last vector, the sum, half of old and new", by_hand,
         expect={"value() after [2, 4]": torch.tensor([2.0, 4.0]),
                 "value() after [4, 8] as well": torch.tensor([3.0, 6.0]),
                 "value() after [0, 0] as well": torch.tensor([2.0, 4.0])}),
    Case("Three vectors at once and then one: each counts once", "example", ONCE,
         "a mean of means", in_groups,
         expect={"value() after three vectors and one": torch.tensor([4.0])}),
    Case("Reading twice gives the same, and the next update counts as before", "property", STAYS,
         "a value() that divides what is kept", read_twice),
    Case("Two objects know nothing of each other", "property", "Each object counts for itself.",
         "state kept on the class", two_objects),
    Case("The reference's numbers over six updates", "float32", MEAN, "anything else",
         against_the_reference),
    Case("After 301 ones in bfloat16, one vector more still counts", "low precision", WIDE,
         "sums in bfloat16, which has no 301 and stops growing at 256", in_bfloat16),
    Case("Before the first vector", "edge", "Before the first vector it is zeros.",
         "zero over zero", empty),
    Case("Vectors that do not lie side by side in memory", "edge", ONCE,
         "view() where the layout does not allow it", spread),
    Case("x is afterwards what it was", "inputs", "x is not changed.", "sums made in x", inputs),
    Case("What the caller does to its tensor later changes nothing", "inputs", MEAN,
         "keeping x itself for the sum", later_changes),
)  # fmt: skip

MISTAKES = (
    Mistake(
        "only the last update",
        "Each update replaces the sum; it should be added to what is there.",
        (edit("self.total = self.total + rows", "self.total = rows"),
         edit("self.total = self.total + rows", "self.total = rows",
              "self.count += rows", "self.count = rows")),
        "What does update do with self.total as it was?",
    ),
    Mistake(
        "mean of means",
        "Each update counts once, however many vectors it brings: three vectors together then "
        "weigh as much as one alone.",
        (edit("rows.sum(dim=0)", "rows.mean(dim=0)", "rows.shape[0]\n", "1\n"),),
        "Count vectors, not calls.",
    ),
    Mistake(
        "calls counted, vectors summed",
        "The vectors are summed, but the count goes up by one at each call.",
        (edit("self.count += rows.shape[0]", "self.count += 1"),),
        "How many vectors does an update of shape (3, dim) bring?",
    ),
    Mistake(
        "sum for mean",
        "The sum is returned; divide it by the number of vectors.",
        (edit(" / max(self.count, 1)", " * 1.0"),),
        "What should value() be after [2, 4] and [4, 8]?",
    ),
    Mistake(
        "half of old and new",
        "Old value and new vector are averaged half and half, so that early vectors fade away.",
        (edit("self.total = self.total + rows.sum(dim=0)",
              "self.total = (self.total + rows.mean(dim=0)) / (2 if self.count else 1)",
              " / max(self.count, 1)", " * 1.0"),),
        "After three vectors each should have the weight one third.",
    ),
    Mistake(
        "zero over zero",
        "Before the first vector the count is zero, and zero over zero is not a number.",
        (edit("max(self.count, 1)", "torch.tensor(self.count)"),
         edit("max(self.count, 1)", "self.count")),
        "What is self.total / self.count before the first update?",
    ),
    Mistake(
        "count starts at one",
        "The count starts at one, perhaps to keep away from zero over zero, and every mean comes "
        "out too small.",
        (edit("self.count = 0", "self.count = 1"),),
        "Which mean do you get for a single vector?",
    ),
    Mistake(
        "state on the class",
        "The sum and the count belong to the class, so all objects share them; what belongs to one "
        "object is set on self, in __init__.",
        (edit("        self.total = torch.zeros(dim)\n        self.count = 0",
              "        RunningMean.total, RunningMean.count = torch.zeros(dim), 0",
              "self.total = self.total + rows", "RunningMean.total = self.total + rows",
              "self.count += rows", "RunningMean.count += rows"),),
        "Make two objects and update only one of them.",
    ),
    Mistake(
        "reading divides what is kept",
        "value() divides the sum in place, so the next reading divides it once more.",
        (edit("return self.total / max(self.count, 1)",
              "self.total = self.total / max(self.count, 1)\n        return self.total"),),
        "Call value() twice in a row.",
    ),
    Mistake(
        "sums in low precision",
        "The vectors are summed in their own dtype; in bfloat16 there is no 301, and a sum of ones "
        "stops at 256.",
        (edit(".float()", ""),
         edit(".float()", "", "rows.sum(dim=0)", "rows.sum(dim=0).float()")),
        "Widen to float32 before the sum, not after it.",
    ),
    Mistake(
        "mean over the components",
        "The sum runs over the components of each vector; it should run over the vectors and keep "
        "the components apart.",
        (edit("rows.sum(dim=0)", "rows.sum(dim=1).sum()"),
         edit("rows.sum(dim=0)", "rows.sum()")),
        "Which axis of (n, dim) counts the vectors?",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="running_mean",
    lesson="A1",
    title="A class that remembers",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Two things are worth remembering between calls. Which two?",
        outline="In __init__ set self.total to zeros(dim) and self.count to 0. In update make x "
        "two-dimensional and float32, add its sum over the vectors to self.total and their "
        "number to self.count. value() returns the quotient, with care for a count of zero.",
    ),
    difficulty="easy",
    importance="The KV cache of lesson 07 and the optimizer of lesson 12 are classes with state.",
    minutes=15,
    setup="import torch\nfrom torch import Tensor",
)
