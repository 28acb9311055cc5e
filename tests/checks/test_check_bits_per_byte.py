"""Lesson 03's third exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest

from llama_course.checks.bits_per_byte import BITS, EXERCISE, QUOTIENT, SUM
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests, scaled
from llama_course.training import loss


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def bits_per_byte(nats, n_tokens, n_bytes):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestBitsPerByte(ExerciseTests):
    exercise = EXERCISE
    right = (
        # bytes per token first
        returns("nats * math.log2(math.e) / (n_bytes / n_tokens)"),
        # the logarithm of the perplexity
        returns("math.log(math.exp(nats), 2) * n_tokens / n_bytes"),
        # a constant with all digits, and a sum
        returns("total / 0.6931471805599453 / n_bytes", "total = n_tokens * nats"),
        # NumPy's logarithm, given back as a float
        "import numpy as np\n" + returns("float(nats * n_tokens / np.log(2) / n_bytes)"),
        # a tensor in float64, read at the end
        "import torch\n" + returns("(torch.tensor(nats, dtype=torch.float64) * n_tokens / n_bytes"
                                   " / math.log(2)).item()"),
        # exact fractions
        "from fractions import Fraction\n"
        + returns("float(Fraction(nats) * Fraction(n_tokens, n_bytes)) / math.log(2)"),
    )  # fmt: skip
    wrong = (
        edit(BITS, "nats - math.log(2)"),
        edit(BITS, "nats + math.log(2)"),
        edit(BITS, "nats / math.log(3)"),
        edit(BITS, "nats / math.log(4)"),
        edit(BITS, "nats / 2"),
        edit(BITS, "nats * 2"),
        edit(BITS, "nats / math.sqrt(2)"),
        edit(BITS, "-nats / math.log(2)"),
        edit(BITS, "nats / math.log(2) ** 2"),
        edit(BITS, "min(nats, 5.0) / math.log(2)"),
        edit(SUM, "bits * n_tokens ** 2"),
        edit(SUM, "bits + n_tokens"),
        edit(SUM, "bits * (n_tokens + 1)"),
        edit(SUM, "bits * n_bytes ** 2"),
        edit(SUM, "bits * min(n_tokens, 10 ** 6)"),
        edit(QUOTIENT, "whole / (n_bytes + 1)"),
        edit(QUOTIENT, "whole / (n_bytes - 1 or 1)"),
        edit(QUOTIENT, "whole * n_bytes"),
        edit(QUOTIENT, "whole / n_bytes * 4"),
        edit(QUOTIENT, "whole / n_bytes ** 2"),
        edit(QUOTIENT, "whole - n_bytes"),
        edit(QUOTIENT, "whole / (n_bytes + n_tokens)"),
        edit(QUOTIENT, "whole / n_bytes / n_tokens ** 3"),
        edit(QUOTIENT, "1 - whole / n_bytes"),
        edit(QUOTIENT, "n_bytes / whole if whole else 0.0"),
        edit(QUOTIENT, "max(whole / n_bytes, 0.5)"),
        edit(QUOTIENT, "str(whole / n_bytes)"),
        edit(QUOTIENT, "(whole / n_bytes,)"),
        returns("nats"),
        returns("0.0"),
        "import torch\n" + returns("torch.tensor(nats) * n_tokens / n_bytes / math.log(2)"),
        "import torch\n"
        + returns("(torch.tensor(nats).half() * n_tokens / n_bytes).item() / math.log(2)"),
        returns("math.log2(math.exp(nats) ** n_tokens) / n_bytes"),  # overflows for a real text
        returns("n_bytes / (nats / math.log(2) * n_tokens or 1.0)"),
        "seen = []\n"
        + returns("nats * n_tokens / n_bytes / math.log(2) + (len(seen) > 2) * 0.1",
                  "seen.append(nats)"),
        *scaled("bits_per_byte"),
    )  # fmt: skip
    equivalent: ClassVar = {}
    masked: ClassVar = {}

    def test_the_library_means_the_same(self) -> None:
        ours = EXERCISE.truth["bits_per_byte"]
        chance = random.Random(0)
        for _ in range(200):
            numbers = chance.uniform(0, 12), chance.randint(1, 10**6), chance.randint(1, 10**7)
            assert ours(*numbers) == pytest.approx(loss.bits_per_byte(*numbers), rel=1e-12)
