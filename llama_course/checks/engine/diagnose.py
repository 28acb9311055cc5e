"""Naming the mistake: one is named only if everything that the answer did is what it does."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, no_type_check

from llama_course.checks.engine.borrowed import Watch
from llama_course.checks.engine.compare import compare
from llama_course.checks.engine.play import Transcript, play
from llama_course.checks.exercise import Case, Exercise, Mistake, definitions


@no_type_check
@lru_cache(maxsize=4096)
def part_of(exercise: Exercise, form: str | tuple[str, ...]) -> str:
    """The part in which a form of a mistake is made: the one whose text it changes."""
    right = {name: ast.dump(node) for name, node in definitions(exercise.solution).items()}
    wrong = {name: ast.dump(node) for name, node in definitions(exercise.text_of(form)).items()}
    changed = [name for name in exercise.parts if right.get(name) != wrong.get(name)]
    if len(changed) != 1:
        raise ValueError(f"a mistake is made in one part, this one changes {changed}: {form!r}")
    return changed[0]


@no_type_check
@lru_cache(maxsize=4096)
def wrong_part(exercise: Exercise, form: str | tuple[str, ...]) -> tuple[str, Any]:
    """The name of the part in which a mistake is made, and the part with the mistake."""
    part = part_of(exercise, form)
    return part, exercise.load(exercise.text_of(form))[part]


@no_type_check
@lru_cache(maxsize=65536)
def reference(exercise: Exercise, case: Case) -> Transcript:
    """What is right in one case; played once a session.

    It is played as an answer is, watched and in the other thread, since its time is the measure of
    the answer's; and twice, since everything is slow the first time.
    """

    def once() -> Transcript:
        return play(exercise, case, exercise.truth, Watch((), ("llama_course",)), 60.0)

    once()
    return once()


@no_type_check
@lru_cache(maxsize=65536)
def played(exercise: Exercise, form: str | tuple[str, ...], case: Case) -> Transcript:
    """What a form of a mistake does in one case; played once a session."""
    part, wrong = wrong_part(exercise, form)
    return play(exercise, case, {**exercise.truth, part: wrong})


@no_type_check
def diagnose(
    exercise: Exercise,
    part: str,
    right: Mapping[Case, Transcript],
    answer: Mapping[Case, Transcript],
) -> list[Mistake]:
    """The mistakes whose whole transcript is the answer's, and differs from the reference's."""
    # Where the answer fails, most mistakes part from it at once.
    cases = sorted(answer, key=lambda case: agree(right[case], answer[case], case))

    def fits(form: str | tuple[str, ...]) -> bool:
        return (
            part_of(exercise, form) == part
            and all(agree(played(exercise, form, case), answer[case], case) for case in cases)
            and any(not agree(right[case], played(exercise, form, case), case) for case in cases)
        )

    return [mistake for mistake in exercise.mistakes if any(map(fits, mistake.forms))]


@no_type_check
def agree(one: Transcript, other: Transcript, case: Case) -> bool:
    """Whether a case cannot tell two transcripts apart, whichever is taken for right."""
    tolerance = case.tolerance
    return compare(one, other, tolerance) is None and compare(other, one, tolerance) is None
