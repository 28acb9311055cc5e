"""Appendix A1's exercise, a class with state."""

from __future__ import annotations

from typing import ClassVar

from llama_course.checks.exercise import edit
from llama_course.checks.running_mean import EXERCISE
from llama_course.checks.testing import ExerciseTests

MEANS = "a mean stays small, and loses no digits in bfloat16 that a sum would lose"
UNUSED = "where the count is not used, it does not matter what it is"

TOTAL = "self.total = self.total + rows.sum(dim=0)"
ROWS = "x.reshape(-1, x.shape[-1]).float()"
VALUE = "self.total / max(self.count, 1)"

WELFORD = """
class RunningMean:
    def __init__(self, dim):
        self.n, self.mean = 0, torch.zeros(dim, dtype=torch.float64)

    def update(self, x):
        for row in torch.atleast_2d(x):
            self.n += 1
            self.mean = self.mean + (row.double() - self.mean) / self.n

    def value(self):
        return self.mean.float()
"""
BASE_AND_SLOTS = """
class Base:
    __slots__ = ("kept", "dim")

    def __init__(self, dim, /):
        self.kept, self.dim = [], dim

class RunningMean(Base):
    def update(self, vectors):
        vectors = vectors if vectors.dim() == 2 else vectors[None]
        self.kept.append((vectors.to(torch.float32).sum(0), len(vectors)))

    def value(self):
        n = sum(k for _, k in self.kept)
        total = torch.stack([t for t, _ in self.kept]).sum(0) if n else torch.zeros(self.dim)
        return total / n if n else total
"""
IN_PLACE = """
class RunningMean:
    def __init__(self, dim):
        self.sums = torch.zeros(dim + 1)

    def update(self, x):
        x = x[None] if x.ndim == 1 else x
        self.sums[:-1] += x.float().sum(0)
        self.sums[-1] += x.shape[0]

    def value(self):
        return self.sums[:-1] / self.sums[-1].clamp(min=1)
"""


class TestRunningMean(ExerciseTests):
    exercise = EXERCISE
    right = (
        WELFORD,
        BASE_AND_SLOTS,
        IN_PLACE,
        edit(ROWS, "x.view(-1, x.shape[-1]).float()"),
    )
    wrong = (
        edit(TOTAL, "self.total = self.total - rows.sum(dim=0)"),
        edit(TOTAL, "self.total = self.total + rows[0]"),
        edit(TOTAL, "self.total = self.total + rows[-1:].sum(0)"),
        edit(TOTAL, "self.total = self.total + rows.amax(dim=0)"),
        edit(TOTAL, "self.total = self.total + rows.abs().sum(dim=0)"),
        edit(TOTAL, "self.total = torch.maximum(self.total, rows.sum(dim=0))"),
        edit(TOTAL, "self.total = self.total * 0.9 + rows.sum(dim=0)"),
        edit(TOTAL, "self.total = self.total + rows.pow(2).sum(dim=0)"),
        edit(TOTAL, "self.total = self.total + rows.flip(-1).sum(dim=0)"),
        edit(TOTAL, "pass"),
        edit(TOTAL, "self.total = self.total.bfloat16() + rows.sum(dim=0)"),
        edit(VALUE, "self.total / max(self.count, 2)"),
        edit(VALUE, "self.total // max(self.count, 1)"),
        edit(VALUE, "self.total / max(self.count - 1, 1)"),
        edit(VALUE, "(self.total / max(self.count, 1)).mean()"),
        edit(VALUE, "(self.total / max(self.count, 1)).tolist()"),
        edit(VALUE, "(self.total / max(self.count, 1)).numpy()"),
        edit(VALUE, "(self.total / max(self.count, 1)).half()"),
        edit(VALUE, "self.count / max(self.count, 1)"),
        edit(VALUE, "self.total / max(self.count, 1) if self.count else None"),
        edit(ROWS, "x.float().squeeze()[None].reshape(-1, x.shape[-1])[:2]"),
        edit(ROWS, "x.mul_(2).reshape(-1, x.shape[-1]).float() / 2"),
        edit("self.count = 0", "self.count = 0.5"),
        edit("torch.zeros(dim)", "torch.ones(dim)"),
    )
    equivalent: ClassVar = {
        "max(self.count, 1) -> max(1, self.count)": "the larger of two is the same in either order",
    }
    masked: ClassVar = {
        ("zero over zero", "count starts at one"): "a count that starts at one is never zero",
        ("mean of means", "sums in low precision"): MEANS,
        ("half of old and new", "sums in low precision"): MEANS,
        ("calls counted, vectors summed", "sum for mean"): UNUSED,
        ("calls counted, vectors summed", "half of old and new"): UNUSED,
        ("sum for mean", "count starts at one"): UNUSED,
    }
