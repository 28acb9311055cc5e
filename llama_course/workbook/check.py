"""`check("rms_norm")`: finds the answer, has it judged, keeps what passes, and shows a card."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from llama_course import checks
from llama_course.checks.engine.judge import PASS, STALE, UNKNOWN, Verdict, judge
from llama_course.checks.exercise import Exercise
from llama_course.errors import CourseError
from llama_course.workbook import hint, my_llama, progress
from llama_course.workbook.result import CheckFailed, Result, result_of
from llama_course.workbook.source import defining, executed
from llama_course.workbook.stale import listen, stale

listen()


def check(name: str, answer: Any = None, *, strict: bool = False) -> Result:
    """Check an exercise, and return a result that shows itself as a card.

    `name` is the exercise's (or one of its parts'). `answer` is the function or class, or a dict of
    them by name; left out, they are taken by name from where `check` is called.
    Nothing is raised in a notebook, whatever the answer does; with `strict=True`, CheckFailed is
    raised unless it passes.
    """
    listen()
    namespace = _callers_names()
    try:
        result = _check(checks.find(name), answer, namespace)
    except CourseError as error:
        result = Result(name, UNKNOWN, str(error))
    except Exception as error:
        if os.environ.get("LLAMA_COURSE_DEBUG"):
            raise
        told = f"{type(error).__name__}: {error}"
        words = f"The check itself failed, and says nothing about your answer ({told})."
        result = Result(name, UNKNOWN, words)
    if strict and result.state != PASS:
        raise CheckFailed(repr(result))
    return result


def _callers_names() -> dict[str, Any]:
    """The names where `check` was called: past the course's own frames and type checkers'."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.split(".")[0] not in ("llama_course", "jaxtyping", "beartype"):
            return {**frame.f_globals, **frame.f_locals}
        frame = frame.f_back
    return {}


def _check(exercise: Exercise, answer: Any, namespace: Mapping[str, Any]) -> Result:
    answers = _answers(exercise, answer, namespace)
    cells = executed(namespace)
    if answer is None:
        for part, found in answers.items():
            older = stale(part, found, namespace)
            if older is not None:
                return Result(exercise.name, STALE, older, parts={part: STALE})
    sources = {part: defining(part, found, cells) for part, found in answers.items()}
    verdicts = judge(exercise, answers, sources)
    hint.remember(exercise.name, verdicts)
    return result_of(exercise, verdicts, _keep(exercise, verdicts, answers, namespace))


def _answers(exercise: Exercise, answer: Any, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that there are, by name."""
    if answer is None:
        return {part: namespace[part] for part in exercise.parts if part in namespace}
    if isinstance(answer, Mapping):
        return {part: answer[part] for part in exercise.parts if part in answer}
    if len(exercise.parts) == 1:
        return {next(iter(exercise.parts)): answer}
    own = getattr(answer, "__name__", "")
    if own not in exercise.parts:
        parts = ", ".join(exercise.parts)
        raise CourseError(
            f"{exercise.name!r} has several parts ({parts}): define them under these names and "
            f"call check({exercise.name!r}), or give them as a dict."
        )
    return {own: answer}


def _keep(
    exercise: Exercise,
    verdicts: Mapping[str, Verdict],
    answers: Mapping[str, Any],
    namespace: Mapping[str, Any],
) -> tuple[str, ...]:
    """Record and keep the parts that pass; what to say of it."""
    passed = [part for part, verdict in verdicts.items() if verdict.state == PASS]
    if not passed:
        return ()
    notes = [my_llama.keep(exercise, part, answers[part], namespace) for part in passed]
    try:
        progress.record(exercise.name, passed)
    except CourseError as error:
        notes.append(str(error))
    return tuple(notes)
