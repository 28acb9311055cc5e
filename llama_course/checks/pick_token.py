"""Lesson 00: a first function, to learn to read a card. The token with the largest score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.scripts import calls, normal, spread_out

STARTER = '''
def pick_token(scores: Tensor) -> int:
    """Return the id of the token with the largest score.

    scores: (vocab,), a float tensor with one score for each token.

    The id of a token is its place in scores, counted from 0.
    The result is a Python int.
    Where several scores are the largest, the first of them counts.
    Scores may be negative, and minus infinity is the smallest of all.
    scores is not changed.
    """
    raise NotImplementedError
'''

SOLUTION = """
def pick_token(scores: Tensor) -> int:
    return int(torch.argmax(scores))
"""

LARGEST = "Return the id of the token with the largest score."
PLACE = "The id of a token is its place in scores, counted from 0."
FIRST = "Where several scores are the largest, the first of them counts."
NEGATIVE = "Scores may be negative, and minus infinity is the smallest of all."


def picked(*scores: float) -> Any:
    """One call, with these scores."""
    return calls("pick_token", torch.tensor(scores))


def shifted(answer: Any) -> Iterator[tuple[str, Any]]:
    scores = torch.tensor([-1.5, 0.25, 3.0, -4.0])
    yield "the token", answer.pick_token(scores)
    yield "the token after 100 is added to each score", answer.pick_token(scores + 100)
    yield "the token after 100 is taken from each score", answer.pick_token(scores - 100)


def many(answer: Any) -> Iterator[tuple[str, Any]]:
    for seed in range(3):
        yield f"token {seed + 1}", answer.pick_token(normal(64, seed=seed))


def tied(answer: Any) -> Iterator[tuple[str, Any]]:
    yield "the token for 1, 4, 4, 0", answer.pick_token(torch.tensor([1.0, 4.0, 4.0, 0.0]))
    yield "the token where all are equal", answer.pick_token(torch.zeros(60))


def infinite(answer: Any) -> Iterator[tuple[str, Any]]:
    low = -torch.inf
    yield "the token for -inf, 2, -inf, 1", answer.pick_token(torch.tensor([low, 2.0, low, 1.0]))
    yield "the token for -inf, -inf, -5", answer.pick_token(torch.tensor([low, low, -5.0]))


def negative(answer: Any) -> Iterator[tuple[str, Any]]:
    yield "the token for -3, -0.5, -2", answer.pick_token(torch.tensor([-3.0, -0.5, -2.0]))
    yield "the token for -3000, -2000", answer.pick_token(torch.tensor([-3000.0, -2000.0]))


def layouts(answer: Any) -> Iterator[tuple[str, Any]]:
    scores = normal(40, seed=5)
    yield "the token", answer.pick_token(spread_out(scores))
    yield "the token in bfloat16", answer.pick_token(torch.tensor([1.0, 3.0, 2.0]).bfloat16())


def case(title: str, level: str, says: str, catches: str, script: Any, **more: Any) -> Case:
    """A case whose transcript has whole numbers only."""
    return Case(title, level, says, catches, script, dtype=None, tolerance=EXACT, **more)


CASES = (
    case("By hand: of 1, 5 and 2 the second is the largest, and its place is 1", "example", PLACE,
         "the score itself, a tensor, a count from one", picked(1.0, 5.0, 2.0),
         expect={"the result of pick_token": 1}),
    case("By hand: the first place is 0", "example", PLACE,
         "a count from one, a first one left out", picked(9.0, 1.0, 2.0),
         expect={"the result of pick_token": 0}),
    case("By hand: the last of four places is 3", "example", PLACE, "a last one left out",
         picked(0.5, 0.25, 2.0, 2.5), expect={"the result of pick_token": 3}),
    case("Adding the same number to every score changes nothing", "property", LARGEST,
         "absolute values, a comparison with zero", shifted),
    case("Scores that differ by a thousandth", "property", LARGEST, "scores that are rounded",
         picked(2.1, 2.25, 2.251, 2.2), expect={"the result of pick_token": 2}),
    case("The reference's tokens for 64 scores", "float32", LARGEST, "anything else", many),
    case("All scores are negative", "edge", NEGATIVE, "a comparison with a fixed number", negative),
    case("Two scores are the largest: the first counts", "edge", FIRST, "the last of them", tied),
    case("Minus infinity is never picked where there is another", "edge", NEGATIVE,
         "absolute values, sentinels that are not low enough", infinite),
    case("Only one token", "edge", PLACE, "a loop that needs two", picked(-7.0),
         expect={"the result of pick_token": 0}),
    case("Scores with gaps between them in memory, and scores in bfloat16", "edge", LARGEST,
         "view(), numpy()", layouts),
    case("scores is afterwards what it was", "inputs", "scores is not changed.",
         "sorting or masking in place", calls("pick_token", normal(12, seed=7))),
)  # fmt: skip

PICK = "int(torch.argmax(scores))"

MISTAKES = (
    Mistake(
        "the score for its place",
        "The largest score itself is returned; asked for is its place, which is the token's id.",
        (edit(PICK, "scores.max()"), edit(PICK, "scores.max().item()"),
         edit(PICK, "int(scores.max())")),
        "max gives the largest score. Which function gives the place where it stands?",
    ),
    Mistake(
        "a tensor for a number",
        "The place is right, but it comes as a tensor with one number in it, not as an int.",
        (edit(PICK, "torch.argmax(scores)"),
         edit(PICK, "torch.argmax(scores, dim=-1, keepdim=True)")),
        "int(...) or .item() takes the number out of a tensor that has one.",
    ),
    Mistake(
        "smallest score",
        "The token with the smallest score is picked.",
        (edit("argmax", "argmin"),),
        "A high score means that the token fits well.",
    ),
    Mistake(
        "counted from one",
        "The places are counted from 1; the first token has the id 0.",
        (edit("return ", "return 1 + "),),
        "What should be the result if the first score is the largest?",
    ),
    Mistake(
        "largest absolute value",
        "The sign of the scores is ignored, so that -9 counts for more than 3.",
        (edit("scores))", "scores.abs()))"), edit("scores))", "scores ** 2))")),
        "Which of -9 and 3 is larger?",
    ),
    Mistake(
        "last of the largest",
        "Where several scores are the largest, the last of them is picked; a loop that compares "
        "with >= does that.",
        (edit(PICK, "len(scores) - 1 - int(torch.argmax(scores.flip(0)))"),),
        "With > in place of >=, a later equal score does not replace an earlier one.",
    ),
    Mistake(
        "compared with zero",
        "The search starts with 0 as the largest score so far, and negative scores never pass it.",
        (edit(PICK, "int(torch.argmax(scores.clamp(min=0)))"),),
        "Start with the first score, not with 0.",
    ),
    Mistake(
        "scores rounded",
        "The scores are rounded to whole numbers before they are compared, so that close ones "
        "become equal.",
        (edit("scores))", "scores.round()))"), edit("scores))", "scores.long()))")),
        "Take int() of the place, not of the scores.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="pick_token",
    lesson="00",
    title="The token with the largest score",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Two things are easily confused: the largest score, and the place where it stands. "
        "Which of them is the token's id?",
        outline="torch.argmax(scores) gives the place of the largest score, as a tensor with one "
        "number in it. A loop that remembers the best place so far does as well. Return the place "
        "as a Python int.",
    ),
    difficulty="easy",
    importance="It turns scores into text, one token at a time; lesson 14 adds chance to it.",
    minutes=5,
    setup="import torch\nfrom torch import Tensor",
)
