"""Judging an answer: the cases climb, the first failure is shown, the mistake is named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llama_course.checks.engine.attempt import is_starter, misfit
from llama_course.checks.engine.borrowed import Watch
from llama_course.checks.engine.compare import Difference, compare
from llama_course.checks.engine.diagnose import diagnose, reference
from llama_course.checks.engine.limits import TooLong
from llama_course.checks.engine.play import TIME, Transcript, play
from llama_course.checks.engine.surroundings import put_back
from llama_course.checks.exercise import Case, Exercise, Mistake

PASS, WRONG, CRASHED = "pass", "wrong", "crashed"
NOT_ATTEMPTED, TOO_SLOW, BORROWED, STALE = "not attempted", "too slow", "borrowed", "stale"
UNKNOWN = "unknown"  # there is no such exercise, or the check itself failed: nothing was judged


@dataclass(frozen=True)
class Verdict:
    """What was found out about one part."""

    part: str
    state: str
    message: str  # one or two sentences
    mistakes: tuple[Mistake, ...] = ()
    symptom: str | None = None
    case: Case | None = None  # the first that failed
    difference: Difference | None = None
    printed: str = ""
    outcomes: tuple[tuple[Case, bool | None], ...] = ()  # None: not run


def judge(
    exercise: Exercise, answers: Mapping[str, Any], sources: Mapping[str, str | None]
) -> dict[str, Verdict]:
    """A verdict for every part of an exercise; a part that is missing is not attempted.

    Each part is tested with the reference's other parts, so that one mistake costs one part. When
    all pass, they are tested once more together.
    """
    verdicts = {
        part: judge_part(exercise, part, answers[part], sources.get(part))
        if part in answers
        else missing(part)
        for part in exercise.parts
    }
    if len(verdicts) > 1 and all(v.state == PASS for v in verdicts.values()):
        for part in exercise.parts:
            together = _Trial(exercise, part, answers[part], answers).verdict()
            if together.state != PASS:
                words = "Each part is right alone, but together they are not. " + together.message
                verdicts[part] = replace(together, message=words)
                break
    return verdicts


def missing(part: str) -> Verdict:
    """The verdict on a part that does not exist."""
    words = f"There is no `{part}` yet: write it, run its cell, then check again."
    return Verdict(part, NOT_ATTEMPTED, words)


def judge_part(
    exercise: Exercise,
    part: str,
    answer: Any,
    source: str | None = None,
    alone: bool = False,
    quick: bool = False,
) -> Verdict:
    """The verdict on one part, beside the reference's other parts.

    `alone`: what the answer itself calls by name stays its own, also where it is another part.
    `quick`: the first failure ends it, and no mistake is named.
    """
    if is_starter(exercise, part, source):
        words = f"`{part}` is still as it was given: fill it in, run its cell, then check again."
        return Verdict(part, NOT_ATTEMPTED, words)
    problem = misfit(exercise, part, answer)
    if problem is not None:
        return Verdict(part, WRONG, problem[1], symptom=problem[0])
    return _Trial(exercise, part, answer, None, alone, quick).verdict()


class _Trial:
    """One part of an answer, played beside the reference."""

    def __init__(
        self,
        exercise: Exercise,
        part: str,
        answer: Any,
        others: Mapping[str, Any] | None,
        alone: bool = False,
        quick: bool = False,
    ) -> None:
        self.exercise, self.part, self.answer = exercise, part, answer
        self.alone, self.quick = alone, quick
        self.watch = Watch(exercise.forbidden, exercise.may_use)
        truth = exercise.truth
        if others is None:
            others = {
                name: self.watch.pausing(value) if not isinstance(value, type) else value
                for name, value in truth.items()
            }
        self.parts = {**others, part: answer}
        self.right: dict[Case, Transcript] = {}
        self.got: dict[Case, Transcript] = {}
        self.differences: dict[Case, Difference | None] = {}
        self.endless: Case | None = None

    def run(self) -> None:
        """Play all cases; a case that does not end is the last."""
        stand_in = {} if self.alone else self.parts
        with put_back(), _standing_in(self.answer, stand_in, self.part):
            for case in self.exercise.cases_of(self.part):
                right = reference(self.exercise, case)
                self.right[case] = right
                limit = max(TIME, self.exercise.slowest * right.seconds)
                try:
                    got = play(self.exercise, case, self.parts, self.watch, limit)
                except TooLong:
                    self.endless = case
                    return
                self.got[case] = got
                inputs = case.level == "inputs"
                self.differences[case] = compare(right, got, case.tolerance, inputs)
                if self.quick and self.differences[case] is not None:
                    return

    def verdict(self) -> Verdict:
        self.run()
        outcomes = tuple(
            (case, self.differences[case] is None if case in self.differences else None)
            for case in self.exercise.cases_of(self.part)
        )
        first = next((c for c, difference in self.differences.items() if difference), None)
        bare = Verdict(self.part, PASS, f"`{self.part}` passes.", outcomes=outcomes)
        if self.watch.found is not None:
            words = (
                f"`{self.part}` calls `{self.watch.found}`, and that is the thing to build here. "
                "Write it from smaller operations."
            )
            return replace(bare, state=BORROWED, message=words, symptom="borrowed")
        if first is None and self.endless is None:
            return bare
        if first is None:
            return self._too_slow(bare)
        return self._failure(bare, first)

    def _too_slow(self, bare: Verdict) -> Verdict:
        words = (
            f"`{self.part}` was stopped: it takes more than {self.exercise.slowest:.0f} times as "
            "long as the reference, or has a loop that never ends."
        )
        return replace(bare, state=TOO_SLOW, message=words, symptom="time", case=self.endless)

    def _failure(self, bare: Verdict, first: Case) -> Verdict:
        got, difference = self.got[first], self.differences[first]
        assert difference is not None
        raised = got.raised
        at_fault = raised is not None and not raised.by_script and difference.symptom == "raised"
        if at_fault and raised is not None and raised.unwritten:
            words = f"`{self.part}` still raises NotImplementedError {raised.place}".rstrip()
            words += ": write that, then check again."
            state = NOT_ATTEMPTED if first is next(iter(self.got)) else CRASHED
            return replace(bare, state=state, message=words, case=first)
        fits: list[Mistake] = []
        if self.endless is None and not self.quick:
            with put_back():
                fits = diagnose(self.exercise, self.part, self.right, self.got)
        return replace(
            bare,
            state=CRASHED if at_fault else WRONG,
            message=_sentence(fits, difference, first),
            mistakes=tuple(fits),
            symptom=difference.symptom,
            case=first,
            difference=difference,
            printed=got.printed,
        )


def _sentence(fits: list[Mistake], difference: Difference, case: Case) -> str:
    """One or two sentences of diagnosis; what is not known is said not to be."""
    if len(fits) == 1:
        return fits[0].story
    if fits:
        both = " Or: ".join(f"{m.name}. {m.story}" for m in fits)
        return f"Two mistakes look alike here. {both}"
    if difference.symptom == "value":
        title = case.title[0].lower() + case.title[1:] if case.title[:2].istitle() else case.title
        return f"{difference.sentence} What fails: {title}. This is not a mistake I know."
    return difference.sentence


@contextlib.contextmanager
def _standing_in(answer: Any, parts: Mapping[str, Any], part: str) -> Iterator[None]:
    """Where the answer calls another part by name, let it find the one that it is tested with."""
    namespace = _globals(answer)
    if namespace is None:
        yield
        return
    before = {name: namespace[name] for name in parts if name != part and name in namespace}
    added = [name for name in parts if name != part and name not in namespace]
    try:
        namespace.update({name: parts[name] for name in [*before, *added]})
        yield
    finally:
        namespace.update(before)
        for name in added:
            namespace.pop(name, None)


def _globals(answer: Any) -> dict[str, Any] | None:
    if isinstance(answer, type):
        functions = [v for v in vars(answer).values() if hasattr(v, "__globals__")]
        return functions[0].__globals__ if functions else None
    for _ in range(20):
        inner = getattr(answer, "__wrapped__", None)
        if inner is None:
            break
        answer = inner
    found = getattr(answer, "__globals__", None)
    return found if isinstance(found, dict) else None
