"""Lesson 08's second exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from typing import ClassVar

import pytest

from llama_course import config
from llama_course.checks.exercise import edit
from llama_course.checks.hidden_dim import EXERCISE, FOUR, NONE, PRODUCT, ROUNDING, TWO_THIRDS
from llama_course.checks.testing import ExerciseTests

RETURN = "return multiples * multiple_of"


def returns(expression: str, *before: str) -> str:
    """An answer in a few lines."""
    lines = ["def hidden_dim(dim, multiple_of, multiplier):", *(f"    {line}" for line in before)]
    return "\n".join([*lines, f"    return {expression}"])


class TestHiddenDim(ExerciseTests):
    exercise = EXERCISE
    right = (
        # floor and ceiling
        "import math\n"
        + returns(
            "math.ceil(width / multiple_of) * multiple_of",
            "width = math.floor(8 * dim / 3)",
            "width = width if multiplier is None else math.floor(width * multiplier)",
        ),
        # the remainder that is missing
        returns(
            "h + -h % multiple_of",
            "h = int(2 * (4 * dim) / 3)",
            "if multiplier is not None:",
            "    h = int(multiplier * h)",
        ),
        # counting up
        returns(
            "width",
            "width, whole = 0, (dim * 8 - dim * 8 % 3) // 3",
            "whole = whole if multiplier is None else int(whole * multiplier)",
            "while width < whole:",
            "    width += multiple_of",
        ),
        # exact fractions, and minus signs for the ceiling
        "from fractions import Fraction\n"
        + returns(
            "-(-int(h * (Fraction(multiplier) if multiplier is not None else 1)) // multiple_of)"
            " * multiple_of",
            "h = int(Fraction(8, 3) * dim)",
        ),
        # divmod, and 1 for None, which no number above 0 is taken for
        returns(
            "(whole + bool(rest)) * multiple_of",
            "whole, rest = divmod(int((multiplier or 1) * (8 * dim // 3)), multiple_of)",
        ),
        # eight thirds as a float: the product is right for every dim up to a million
        returns("-(-h // multiple_of) * multiple_of", "h = int(dim * 8 / 3)",
                "h = h if multiplier is None else int(h * multiplier)"),
    )  # fmt: skip
    wrong = (
        edit(FOUR, "four = 3 * dim"),
        edit(FOUR, "four = 4 * dim + 3"),
        edit(FOUR, "four = 5 * dim"),
        edit(FOUR, "four = 4 ** 3 * dim"),
        edit(FOUR, "four = 4 + dim"),
        edit(TWO_THIRDS, "2 * four // 3 - 1"),
        edit(TWO_THIRDS, "3 * four // 4"),
        edit(TWO_THIRDS, "2 * four // 5"),
        edit(TWO_THIRDS, "2 * four // 3 // 5 * 5"),
        edit(TWO_THIRDS, "2 * four // 3 | 1"),
        edit(NONE, "multiplier is None"),
        edit(NONE, "multiplier is not None and multiplier > 1"),
        edit(NONE, "multiplier is not None and multiplier < 2"),
        edit(NONE, "isinstance(multiplier, float)"),
        edit(PRODUCT, "int(multiplier) * width"),
        edit(PRODUCT, "int(multiplier + width)"),
        edit(PRODUCT, "int(multiplier * multiplier * width)"),
        edit(PRODUCT, "int(multiplier * width) + 1"),
        edit(PRODUCT, "width + int(multiplier * width)"),
        edit(PRODUCT, "int(1.3 * width)"),
        edit(ROUNDING, "(width + multiple_of - 2) // multiple_of"),
        edit(ROUNDING, "(width + 255) // multiple_of"),
        edit(ROUNDING, "max(width // multiple_of, 1)"),
        edit(ROUNDING, "(width + multiple_of - 1) // multiple_of + 1"),
        edit(ROUNDING, "(width - 1) // multiple_of"),
        edit(ROUNDING, "-(-width // multiple_of) + width % 2"),
        edit(RETURN, "return multiples + multiple_of"),
        edit(RETURN, "return width + multiple_of"),
        edit(RETURN, "return max(width, multiple_of)"),
        edit(RETURN, "return (width + multiple_of - 1) & ~(multiple_of - 1)"),
        edit(RETURN, "return multiples * multiple_of * 2"),
        edit(RETURN, "return str(multiples * multiple_of)"),
        edit(RETURN, "return dim + multiples * multiple_of"),
        returns("(2 * (8 * dim) // 3 + multiple_of - 1) // multiple_of * multiple_of"),
        edit(RETURN, "return (multiples * multiple_of,)"),
        returns("11008"),
        returns("{4096: 11008, 5120: 13824, 6656: 17920, 8192: 22016}.get(dim, 4 * dim)"),
        returns("4 * dim"),
        returns("dim"),
    )
    equivalent: ClassVar = {}
    masked: ClassVar = {
        ("fraction of two thirds not dropped", "multiplied before the first rounding"): (
            "a fraction that is kept until the end is kept before multiplier comes, too"
        ),
        ("multiplied before the first rounding", "a float"): (
            "a float has kept its fraction until multiplier comes"
        ),
    }

    @pytest.mark.parametrize("multiplier", [None, 1.0, 1.3, 1.75, 0.5, 2])
    def test_the_library_means_the_same(self, multiplier: float | None) -> None:
        ours = EXERCISE.truth["hidden_dim"]
        for dim in (*range(1, 200), 4096, 5120, 6656, 8192, 16_384):
            for multiple_of in (1, 7, 32, 256, 4096):
                expected = config.hidden_dim(dim, multiple_of, multiplier)
                assert ours(dim, multiple_of, multiplier) == expected
