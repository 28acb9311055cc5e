"""Lesson 00's exercise: the place of the largest score."""

from __future__ import annotations

from llama_course.checks.exercise import edit
from llama_course.checks.pick_token import EXERCISE, PICK
from llama_course.checks.testing import ExerciseTests

LOOP = """
def pick_token(scores):
    best = 0
    for place in range(1, len(scores)):
        if scores[place] > scores[best]:
            best = place
    return best
"""
PYTHON = """
def pick_token(scores):
    values = scores.tolist()
    return values.index(max(values))
"""
NONZERO = """
def pick_token(scores):
    return (scores == scores.max()).nonzero()[0].item()
"""
SORTED = """
def pick_token(scores):
    return int(scores.sort(descending=True, stable=True).indices[0])
"""
RECURSION = """
def pick_token(scores):
    if len(scores) == 1:
        return 0
    half = len(scores) // 2
    left, right = pick_token(scores[:half]), half + pick_token(scores[half:])
    return left if scores[left] >= scores[right] else right
"""
FROM_ZERO_ON = """
def pick_token(scores):
    best, place = -1.0, 0
    for i, s in enumerate(scores.tolist()):
        if s > best:
            best, place = s, i
    return place
"""
NO_INFINITY = """
def pick_token(scores):
    best, place = -1000.0, None
    for i, s in enumerate(scores.tolist()):
        if s > best:
            best, place = s, i
    return place
"""


class TestPickToken(ExerciseTests):
    exercise = EXERCISE
    right = (LOOP, PYTHON, NONZERO, SORTED, RECURSION)
    wrong = (
        FROM_ZERO_ON,
        NO_INFINITY,
        NO_INFINITY.replace("-1000.0", "0.5"),
        edit(PICK, "0"),
        edit(PICK, "len(scores) - 1"),
        edit(PICK, "len(scores) // 2"),
        edit(PICK, "int(torch.argmax(scores[1:]))"),
        edit(PICK, "int(torch.argmax(scores[1:])) + 1"),
        edit(PICK, "int(torch.argmax(scores[:-1])) if len(scores) > 1 else 0"),
        edit(PICK, "int(torch.argmax(scores)) - 1"),
        edit(PICK, "int(torch.argmax(scores)) - len(scores)"),
        edit(PICK, "int(torch.argmax(scores.flip(0)))"),
        edit(PICK, "int(scores.argsort()[len(scores) // 2])"),
        edit(PICK, "int(scores.topk(min(2, len(scores))).indices[-1])"),
        edit(PICK, "float(torch.argmax(scores))"),
        edit(PICK, "str(int(torch.argmax(scores)))"),
        edit(PICK, "[int(torch.argmax(scores))]"),
        edit(PICK, "torch.argmax(scores).numpy()"),
        edit(PICK, "torch.max(scores, dim=0)"),
        edit(PICK, "int(torch.argmax(scores.bfloat16()))"),
        edit(PICK, "int(torch.argmax(torch.sigmoid(scores)))"),
        edit(PICK, "int(torch.argmax(scores.clamp(max=2)))"),
        edit(PICK, "int(torch.argmax(scores.exp()))"),
        edit(PICK, "int(torch.argmax(scores.sub_(1)))"),
        edit(PICK, "int(torch.argmax(scores.view(2, -1)))"),
        edit(PICK, "int(torch.argmax(scores.sort().values))"),
        edit(PICK, "scores.tolist().index(0.0)"),
        edit(PICK, "print(int(torch.argmax(scores)))"),
        edit(PICK, "int(torch.multinomial(torch.softmax(scores.float(), -1), 1))"),
    )
