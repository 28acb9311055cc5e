"""Lesson 08, second part: how wide the feed-forward layer is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, apply, edit
from llama_course.checks.scripts import calls

STARTER = '''
def hidden_dim(dim: int, multiple_of: int, multiplier: float | None) -> int:
    """The width of LLaMA's feed-forward layer: the rows of w1 and w3, the columns of w2.

    dim: the width of the model, from 1 to a million. multiple_of: a whole number, 1 or more.
    multiplier: a number above 0, or None.

    The width begins as two thirds of 4 * dim, rounded down to a whole number.
    If multiplier is not None, that whole number is multiplied by it, and rounded down again.
    In the end the width is rounded up to a multiple of multiple_of.
    A width that is a multiple of it already stays as it is.
    The result is an int.
    The same arguments always give the same result.
    """
    raise NotImplementedError
'''

SOLUTION = """
def hidden_dim(dim: int, multiple_of: int, multiplier: float | None) -> int:
    four = 4 * dim
    width = 2 * four // 3
    if multiplier is not None:
        width = int(multiplier * width)
    multiples = (width + multiple_of - 1) // multiple_of
    return multiples * multiple_of
"""

THIRDS = "The width begins as two thirds of 4 * dim, rounded down to a whole number."
TIMES = "If multiplier is not None, that whole number is multiplied by it, and rounded down again."
UP = "In the end the width is rounded up to a multiple of multiple_of."
STAYS = "A width that is a multiple of it already stays as it is."
INT = "The result is an int."
SAME = "The same arguments always give the same result."


def widths(*arguments: tuple[int, int, float | None]) -> Any:
    """A script that asks for several widths."""

    def script(answer: Any) -> Iterator[tuple[str, Any]]:
        for dim, multiple_of, multiplier in arguments:
            name = f"the width for dim {dim:,}, multiple_of {multiple_of}, multiplier {multiplier}"
            yield name, answer.hidden_dim(dim, multiple_of, multiplier)

    return script


def is_int(answer: Any) -> Iterator[tuple[str, Any]]:
    """What kind of thing comes back; its value is other cases' task."""
    result = answer.hidden_dim(96, 32, None)
    yield "the result of hidden_dim", 0 if type(result) is int else result


def case(title: str, level: str, says: str, catches: str, script: Any, **expect: int) -> Case:
    """All results here are whole numbers."""
    by_hand = {"the result of hidden_dim": expect["gives"]} if expect else None
    return Case(title, level, says, catches, script, dtype=None, tolerance=EXACT, expect=by_hand)


CASES = (
    case("The result is a whole number", "shape", INT, "a float, as / and 8 / 3 * dim give",
         is_int),
    case("By hand: dim 6 makes 24, of which two thirds are 16", "example", THIRDS,
         "8 / 3 of something else than dim, 4 * dim unreduced",
         calls("hidden_dim", 6, 1, None), gives=16),
    case("By hand: dim 100 makes 266 and a fraction, and three times 100 are enough for that",
         "example", UP, "rounding down, rounding to the nearest",
         calls("hidden_dim", 100, 100, None), gives=300),
    case("By hand: dim 6, multiplier 1.25: 16 becomes 20, and three times 8 are enough for that",
         "example", TIMES, "a multiplier that is not used, or comes too late",
         calls("hidden_dim", 6, 8, 1.25), gives=24),
    case("LLaMA 7B, 13B, 33B and 65B", "property", UP, "rounding down, and to the nearest",
         widths((4096, 256, None), (5120, 256, None), (6656, 256, None), (8192, 256, None))),
    case("Llama 2 70B: multiple_of 4096, multiplier 1.3", "property", TIMES,
         "a multiplier that is not used", calls("hidden_dim", 8192, 4096, 1.3), gives=28672),
    case("Two thirds without a remainder, and with", "float32", THIRDS,
         "the fraction rounded up or to the nearest, two thirds written as 0.667",
         widths(*((dim, 1, None) for dim in (1, 2, 3, 4, 5, 64, 3000, 8191, 1_000_000)))),
    case("Several multipliers, where the fraction is dropped", "float32", TIMES,
         "a fraction of the product that is rounded up or to the nearest",
         widths((7, 1, 1.5), (10, 1, 1.3), (10, 1, 0.5), (50, 10, 1.7), (64, 1, 1.75))),
    case("A multiplier that is a whole number", "float32", TIMES,
         "a width that is multiplied after it was rounded up",
         widths((100, 64, 2), (100, 64, 3), (128, 32, 1))),
    case("The fraction of two thirds is dropped before multiplier comes", "edge", TIMES,
         "one rounding where the contract has two", widths((7, 1, 2.5), (100, 1, 10.0),
                                                           (4096, 1, 1.5))),
    case("A width that is a multiple already stays", "edge", STAYS, "one multiple too many",
         widths((96, 256, None), (96, 128, None), (96, 64, 2.0), (3, 8, None), (6, 1, None))),
    case("A fraction above a multiple is dropped before the width is rounded up", "edge", TIMES,
         "a product that is rounded up from its fraction", widths((6, 10, 1.26), (60, 100, 1.251))),
    case("A multiple_of that is no power of two", "edge", UP, "bits that are masked out",
         widths((100, 7, None), (64, 96, None), (1000, 10, 1.1))),
    case("A multiple_of that is larger than the width", "edge", UP, "a width of zero",
         widths((6, 256, None), (6, 1000, 0.5))),
    case("The result does not depend on what was asked before", "inputs", SAME,
         "something kept between calls",
         widths((96, 32, None), (96, 32, 1.5), (96, 32, None), (64, 1, None), (96, 32, 1.5))),
)  # fmt: skip

FOUR, TWO_THIRDS = "four = 4 * dim", "2 * four // 3"
PRODUCT, ROUNDING = "int(multiplier * width)", "(width + multiple_of - 1) // multiple_of"
NONE = "multiplier is not None"


def alone(*replacements: str) -> str:
    """A changed solution as a text of its own, for what hides other changes or undoes them.

    Two mistakes at once are made of edits.
    """
    return apply(edit(*replacements), SOLUTION)


MISTAKES = (
    Mistake(
        "rounding down",
        "The width is rounded down to a multiple; LLaMA rounds up, so that the layer is at least "
        "as large as the rule says.",
        (edit(ROUNDING, "width // multiple_of"),),
        "By hand, 10,922 and multiples of 256: 42 of them are 10,752. Are 10,922 columns in that?",
    ),
    Mistake(
        "rounding to the nearest",
        "The width is rounded to the nearest multiple; LLaMA rounds up, however little is missing.",
        (
            edit(ROUNDING, "round(width / multiple_of)"),
            edit(ROUNDING, "(width + multiple_of // 2) // multiple_of"),
            edit(ROUNDING, "int(width / multiple_of + 0.5)"),
            edit(ROUNDING, "max(round(width / multiple_of), 1)"),
        ),
        "Which multiple of 100 should 210 become?",
    ),
    Mistake(
        "one multiple too many",
        "A width that is a multiple already gets one more; add multiple_of - 1 before the "
        "division, not multiple_of.",
        (
            edit(ROUNDING, "width // multiple_of + 1"),
            edit(ROUNDING, "(width + multiple_of) // multiple_of"),
        ),
        "What should 256 become, with multiples of 256?",
    ),
    Mistake(
        "not rounded",
        "multiple_of is not used: the width is not rounded up to a multiple.",
        (alone("return multiples * multiple_of", "return width"),),
        "Which of the three arguments does your function never read?",
    ),
    Mistake(
        "number of multiples",
        "The result is how many multiples there are, not how wide they are together.",
        (edit("return multiples * multiple_of", "return multiples"),),
        "Rounding up has two steps: divide, then multiply again.",
    ),
    Mistake(
        "multiple of 256 fixed",
        "The 256 of LLaMA 1 is written into the function; multiple_of should be used.",
        (
            alone(ROUNDING, "(width + 255) // 256", "multiples * multiple_of", "multiples * 256"),
        ),
        "Which of the three arguments does your function never read?",
    ),
    Mistake(
        "next power of two",
        "The width is rounded up to a power of two and not to a multiple of multiple_of.",
        (
            alone("return multiples * multiple_of", "return 1 << (width - 1).bit_length()"),
            alone("return multiples * multiple_of",
                 "return max(1 << (width - 1).bit_length(), multiple_of)"),
        ),
        "256, 512, 768: is the third a multiple of 256?",
    ),
    Mistake(
        "4 * dim unreduced",
        "The two thirds are missing: with three matrices in place of two, 4 * dim would make the "
        "layer half as large again.",
        (alone(TWO_THIRDS, "four"),),
        "How many parameters have two matrices of 4 * dim, and three of the width you give?",
    ),
    Mistake(
        "two thirds of dim",
        "The factor four is missing: the rule is two thirds of 4 * dim.",
        (edit(FOUR, "four = dim"),),
        "Is the layer wider than the model, or narrower?",
    ),
    Mistake(
        "two thirds twice",
        "8 / 3 is two thirds of four already; here it is taken of 4 * dim once more.",
        (alone(TWO_THIRDS, "8 * four // 3"),),
        "Write the factor of dim as one fraction.",
    ),
    Mistake(
        "three halves",
        "The fraction is turned round: the width is multiplied by three and divided by two.",
        (alone(TWO_THIRDS, "3 * four // 2"),),
        "Should three matrices be wider or narrower than two?",
    ),
    Mistake(
        "one third",
        "One third of 4 * dim is taken: the two is missing.",
        (edit(TWO_THIRDS, "four // 3"),),
        "Two thirds of 24 are 16.",
    ),
    Mistake(
        "divided before it is multiplied",
        "Something is divided by three and its fraction dropped, and only then is it multiplied: "
        "what was dropped is then missing several times.",
        (
            edit(TWO_THIRDS, "four // 3 * 2"),
            edit(TWO_THIRDS, "2 * (four // 3)"),
            alone(TWO_THIRDS, "4 * (2 * dim // 3)"),
            alone(TWO_THIRDS, "8 * (dim // 3)"),
            alone(TWO_THIRDS, "2 // 3 * four"),
        ),
        "Two thirds of 4: is it 2 (2.67 rounded down), or twice 1? And what is 2 // 3?",
    ),
    Mistake(
        "two thirds written short",
        "Two thirds, or eight thirds, are written with a few digits; multiply by 2 and divide by "
        "3, and nothing is lost.",
        tuple(
            edit(TWO_THIRDS, f"int(four * {n})")
            for n in ("0.66", "0.666", "0.6666", "0.6667", "0.66667", "0.667", "0.67")
        )
        + tuple(
            edit(TWO_THIRDS, f"int(dim * {n})")
            for n in ("2.6", "2.66", "2.666", "2.667", "2.6667", "2.67", "2.7")
        ),
        "How far from two thirds is 0.667, times 32,768?",
    ),
    Mistake(
        "fraction of two thirds not dropped",
        "Two thirds of 4 * dim are rounded up, to the nearest whole number, or not at all before "
        "the width is rounded to a multiple; the fraction is dropped.",
        (
            edit(TWO_THIRDS, "-(-2 * four // 3)"),
            edit(TWO_THIRDS, "round(2 * four / 3)"),
            edit(TWO_THIRDS, "2 * four // 3 + 1"),
            *(
                alone(TWO_THIRDS, "2 * four / 3", PRODUCT, product, ROUNDING,
                      "-int(-width // multiple_of)")
                for product in ("int(multiplier * width)", "multiplier * width",
                                "int(multiplier * int(width))")
            ),
        ),
        "Two thirds of 4 are 2.67, so 2.",
    ),
    Mistake(
        "multiplier ignored",
        "multiplier is not used. Llama 2 70B has 1.3, and its layer is wider than the rule.",
        (edit(PRODUCT, "width"),),
        "Which of the three arguments does your function never read?",
    ),
    Mistake(
        "multiplier after the rounding",
        "The width is rounded up first and multiplied then, so the result need not be a multiple "
        "of multiple_of any more.",
        (
            edit(PRODUCT, "width", "return multiples * multiple_of",
                 "return int(multiples * multiple_of * (1 if multiplier is None else multiplier))"),
            edit(PRODUCT, "int(multiplier * -(-width // multiple_of) * multiple_of)"),
        ),
        "Is your result for multiplier 1.3 a multiple of multiple_of?",
    ),
    Mistake(
        "multiplier in place of two thirds",
        "Where a multiplier is given, it multiplies 4 * dim itself; it should multiply the two "
        "thirds of it.",
        (edit(PRODUCT, "int(multiplier * four)"),),
        "multiplier 1 should change nothing.",
    ),
    Mistake(
        "multiplier on dim",
        "Where a multiplier is given, it multiplies dim; it should multiply two thirds of 4 * dim.",
        (edit(PRODUCT, "int(multiplier * dim)"),),
        "multiplier 1 should change nothing.",
    ),
    Mistake(
        "divided by the multiplier",
        "The width is divided by multiplier; 1.3 makes the layer wider.",
        (edit(PRODUCT, "int(width / multiplier)"),),
        "Llama 2 70B is wider than 65B. By 1.3, before the rounding.",
    ),
    Mistake(
        "multiplied before the first rounding",
        "The fraction of the two thirds is kept until multiplier has been used, so there is one "
        "rounding down where the rule has two.",
        (
            edit(PRODUCT, "int(2 * four * multiplier / 3)"),
            edit(PRODUCT, "2 * int(four * multiplier) // 3"),
            edit(PRODUCT, "2 * 4 * int(dim * multiplier) // 3"),
        ),
        "Two thirds of 28 are 18.67, so 18; and then times 2.5?",
    ),
    Mistake(
        "fraction of the product not dropped",
        "The product with multiplier is rounded up, to the nearest, or not at all before the "
        "width is rounded to a multiple; its fraction is dropped.",
        (
            edit(PRODUCT, "round(multiplier * width)"),
            edit(PRODUCT, "-int(-multiplier * width // 1)"),
            edit(PRODUCT, "multiplier * width", ROUNDING,
                 "-int(-width // multiple_of)"),
        ),
        "16 times 1.26 are 20.16. How many tens are needed?",
    ),
    Mistake(
        "a float",
        "The result has the right value, but it is a float; a shape needs a whole number. // keeps "
        "whole numbers whole, / does not.",
        (
            edit("return multiples * multiple_of", "return float(multiples * multiple_of)"),
            alone("four = 4 * dim", "four = 4.0 * dim"),
            alone(TWO_THIRDS, "2 * four / 3"),
            alone(TWO_THIRDS, "2 * four / 3", PRODUCT, "multiplier * width"),
            edit(PRODUCT, "multiplier * width // 1"),
        ),
        "Print the type of your result.",
    ),
    Mistake(
        "None multiplied",
        "Where no multiplier is given it is None, and None cannot be multiplied.",
        (alone(NONE, "True"),),
        "What is multiplier for LLaMA 1?",
    ),
    Mistake(
        "parentheses missing",
        "1 // multiple_of is worked out first, and is almost always 0. The sum must stand in "
        "parentheses before it is divided.",
        (
            alone("return multiples * multiple_of",
                  "return width + multiple_of - 1 // multiple_of * multiple_of"),
            alone(ROUNDING, "width + multiple_of - 1 // multiple_of"),
        ),
        "What is 3 - 1 // 4 in Python?",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="hidden_dim",
    lesson="08",
    title="The width of the layer",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Three steps, each ending in a whole number. Which of them round down, and which one "
        "rounds up?",
        outline="2 * (4 * dim) // 3. If multiplier is not None: int(multiplier * width). Then add "
        "multiple_of - 1, divide by multiple_of with //, and multiply by it again.",
    ),
    difficulty="easy",
    importance="Meta's files do not hold the width: whoever loads them computes it by this rule.",
    minutes=8,
    setup="",
    may_use=("llama_course.errors",),
)
