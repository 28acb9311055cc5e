"""`hint("rms_norm")`: a nudge, then an outline, then help with the mistake, then the way out."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

from llama_course import checks
from llama_course.checks.engine.judge import PASS, Verdict
from llama_course.checks.exercise import Exercise, Mistake
from llama_course.errors import CourseError

_given: dict[str, int] = {}  # how many hints were given in this session, by exercise
_last: dict[str, Verdict] = {}  # what the last check found


@dataclass(frozen=True)
class Hint:
    """One hint, shown as a sentence or two."""

    title: str
    text: str

    def __repr__(self) -> str:
        return f"{self.title}\n{self.text}"

    def _repr_markdown_(self) -> str:
        return f"**{self.title}**\n\n{self.text}"

    def _repr_html_(self) -> str:
        return (
            f'<div role="group" aria-label="{html.escape(self.title)}" style="border:1px dashed '
            'currentColor;border-radius:4px;padding:0.6em 1em;max-width:52em">'
            f"<p><strong>{html.escape(self.title)}</strong></p><p>{html.escape(self.text)}</p></div>"
        )


def hint(name: str) -> Hint:
    """The next hint for an exercise: each call goes one step further, and the last one stays."""
    try:
        exercise = checks.find(name)
    except CourseError as error:
        return Hint("No hint", str(error))
    step = min(_given.get(exercise.name, 0) + 1, 4)
    _given[exercise.name] = step
    title = f"Hint {step} of 4 for {exercise.name}"
    if step == 1:
        return Hint(title, exercise.hints.nudge)
    if step == 2:
        return Hint(title, exercise.hints.outline)
    if step == 3:
        return Hint(title, _by_symptom(exercise))
    return Hint(
        title,
        f"The worked solution of lesson {exercise.lesson} is in the folder solutions/. Read it, "
        "close it, and write your own: what you have written yourself stays.",
    )


def remember(name: str, verdicts: Mapping[str, Verdict]) -> None:
    """Keep what the last check found, for the hint that depends on it.

    A check that finds something else than the one before makes that hint due again.
    """
    from llama_course.workbook.result import shown

    found = shown(tuple(verdicts.values()))
    if found is None:
        return
    before = _last.get(name)
    if before is not None and _what(before) != _what(found):
        _given[name] = min(_given.get(name, 0), 2)
    _last[name] = found


def _what(verdict: Verdict) -> tuple[object, ...]:
    """What a hint by symptom would speak of."""
    names = tuple(mistake.name for mistake in verdict.mistakes)
    return verdict.part, verdict.state, names, verdict.case and verdict.case.title


def _by_symptom(exercise: Exercise) -> str:
    last = _last.get(exercise.name)
    if last is None:
        return f"Call check({exercise.name!r}) first: this hint speaks of what the check finds."
    if last.state == PASS:
        return "The last check passed: there is nothing to mend."
    if last.mistakes:
        return " Or: ".join(_help(mistake) for mistake in last.mistakes)
    if last.case is not None:
        return (
            f"Take the smallest input for which this fails: {last.case.title}. The docstring says: "
            f"“{last.case.says}” Work it out by hand and compare line by line."
        )
    return last.message


def _help(mistake: Mistake) -> str:
    return f"{mistake.story} {mistake.help}".strip()
