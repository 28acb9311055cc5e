"""The test that every exercise must pass. An exercise's test file is its list of answers.

    class TestRmsNorm(ExerciseTests):
        exercise = EXERCISE
        right = (...)      # right answers in really different styles, as source text
        wrong = (...)      # at least twenty wrong answers outside the catalogue
        equivalent = {"change": "why no input can show it", ...}   # mutants that survive
        masked = {("a mistake", "another"): "why only one of the two shows", ...}

An answer is source text, or a tuple made by `edit(...)` that changes the solution.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import os
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from llama_course.checks.engine.compare import compare
from llama_course.checks.engine.diagnose import part_of
from llama_course.checks.engine.judge import NOT_ATTEMPTED, PASS, Verdict, judge, judge_part
from llama_course.checks.engine.play import Transcript, play
from llama_course.checks.engine.surroundings import put_back
from llama_course.checks.exercise import (
    LEVELS,
    Exercise,
    Mistake,
    Tolerance,
    apply,
    definitions,
)
from llama_course.checks.mutants import mutants

ENOUGH = 20  # wrong answers outside the catalogue
# Of a large catalogue's pairs an even share is tried, and all that are `masked`: their number grows
# with the square of the catalogue. LLAMA_COURSE_ALL_PAIRS=1 tries every one.
MOST_PAIRS = 150
EXPECTED_BY_HAND = Tolerance(1e-4, 1e-6, "worked by hand to four digits")

Form = str | tuple[str, ...]


def judged(exercise: Exercise, text: str) -> dict[str, Verdict]:
    """The verdicts on a source text, as a learner's: parts that it lacks are the solution's."""
    full = exercise.solution + "\n\n" + text
    sources = dict.fromkeys(exercise.parts, text if definitions(text) else None)
    return judge(exercise, exercise.load(full, module="answer"), sources)


def names(verdicts: Mapping[str, Verdict]) -> list[str]:
    """The names of all mistakes that were named."""
    return [m.name for v in verdicts.values() for m in v.mistakes]


def combined(exercise: Exercise) -> Iterator[tuple[Mistake, Mistake, str]]:
    """The source of every two mistakes made at once, where the two edits do not touch each other.

    The first form of each is taken, and two of one part that is not the other's.
    """
    for one, other in itertools.combinations(exercise.mistakes, 2):
        for a, b in itertools.product(one.forms, other.forms):
            if (
                isinstance(a, str)
                or isinstance(b, str)
                or part_of(exercise, a) != part_of(exercise, b)
            ):
                continue
            text = _both(exercise.solution, a, b) or _both(exercise.solution, b, a)
            if text is not None:
                yield one, other, text
                break


def _both(solution: str, a: tuple[str, ...], b: tuple[str, ...]) -> str | None:
    try:
        text = apply(b, apply(a, solution))
        ast.parse(text)
    except (ValueError, SyntaxError):
        return None
    # The second must not have undone the first.
    return text if all(new in text for new in (*a[1::2], *b[1::2])) else None


class ExerciseTests:
    """Inherit, set `exercise` and the lists; pytest finds the tests."""

    exercise: ClassVar[Exercise]
    right: ClassVar[tuple[Form, ...]] = ()
    wrong: ClassVar[tuple[Form, ...]] = ()
    equivalent: ClassVar[Mapping[str, str]] = {}
    masked: ClassVar[Mapping[tuple[str, str], str]] = {}

    def text(self, form: Form) -> str:
        """The source text of an answer."""
        return form if isinstance(form, str) else self.exercise.text_of(form)

    def test_every_case_cites_the_contract(self) -> None:
        starter = " ".join(self.exercise.starter.split())
        for case in self.exercise.cases:
            assert " ".join(case.says.split()) in starter, f"{case.title}: cites what is not there"
            assert case.title and case.catches, "a case says what it tests and what it catches"
            assert not case.title.endswith("."), f"{case.title}: the card adds the full stop"

    def test_cases_climb_and_every_part_has_some(self) -> None:
        for part in self.exercise.parts:
            cases = self.exercise.cases_of(part)
            assert cases, f"no case tests {part}"
            levels = [LEVELS.index(c.level) for c in self.exercise.cases if c in cases]
            assert levels == sorted(levels), f"the cases of {part} do not climb"
            assert any(c.level == "inputs" for c in cases) or not self.exercise.arguments(part)

    def test_reference_gives_what_was_worked_by_hand(self) -> None:
        by_hand = 0
        for case in self.exercise.cases:
            transcript = self.play(case)
            for name, value in (case.expect or {}).items():
                found = Transcript(((name, dict(transcript.steps)[name]),), None, (), (), "", 0.0)
                wanted = Transcript(((name, value),), None, (), (), "", 0.0)
                assert compare(wanted, found, EXPECTED_BY_HAND) is None, (case.title, name)
                by_hand += 1
        assert by_hand, "no example was worked by hand"

    def test_cases_have_the_dtype_that_they_state(self) -> None:
        for case in self.exercise.cases:
            transcript = self.play(case)
            tensors = [v for _, v in transcript.steps if isinstance(v, Tensor)]
            assert transcript.steps or transcript.raised, f"{case.title}: yields nothing"
            for value in tensors:
                integer = not value.is_floating_point() and not value.is_complex()
                assert integer or value.dtype == case.dtype, f"{case.title}: {value.dtype}"

    def play(self, case: Any) -> Transcript:
        """A case, played on the reference."""
        with put_back():
            return play(self.exercise, case, self.exercise.truth)

    def test_solution_passes(self) -> None:
        self.passes(self.exercise.solution)

    def test_right_answers_pass(self) -> None:
        assert len(self.right) >= 2, "at least two right answers of really different style"
        for form in self.right:
            self.passes(self.text(form))

    def passes(self, text: str) -> None:
        """Every part passes."""
        for part, verdict in judged(self.exercise, text).items():
            place = verdict.case.title if verdict.case else ""
            assert verdict.state == PASS, f"{part}: {verdict.message} ({place})\n{text}"

    def test_starter_is_not_attempted(self) -> None:
        for part, verdict in judged(self.exercise, self.exercise.starter).items():
            assert verdict.state == NOT_ATTEMPTED, f"{part}: {verdict.state}"
        # Nor is it where its source cannot be found.
        raw = self.exercise.load(self.exercise.starter, module="answer")
        for part, verdict in judge(self.exercise, raw, {}).items():
            assert verdict.state == NOT_ATTEMPTED, f"{part}: {verdict.state}"

    def test_every_mistake_is_named_as_itself_and_costs_one_part(self) -> None:
        for mistake in self.exercise.mistakes:
            assert mistake.story.endswith("."), mistake.name
            for form in mistake.forms:
                part = part_of(self.exercise, form)
                verdicts = judged(self.exercise, self.exercise.text_of(form))
                assert names(verdicts) == [mistake.name], (
                    f"{mistake.name}: named {names(verdicts)}, {verdicts[part].message}\n{form}"
                )
                others = [v.state for name, v in verdicts.items() if name != part]
                assert all(state == PASS for state in others), f"{mistake.name} cost another part"

    def test_wrong_answers_outside_the_catalogue_fail_and_get_no_name(self) -> None:
        assert len(self.wrong) >= ENOUGH, f"only {len(self.wrong)} wrong answers"
        faults = []
        for form in self.wrong:
            verdicts = judged(self.exercise, self.text(form))
            if all(v.state == PASS for v in verdicts.values()):
                faults.append(f"passes:\n{form}")
            if names(verdicts):
                faults.append(f"named {names(verdicts)}:\n{form}")
        assert not faults, "\n".join(faults)

    def test_two_mistakes_at_once_fail_and_get_no_false_name(self) -> None:
        every = list(combined(self.exercise))
        step = 1 if os.environ.get("LLAMA_COURSE_ALL_PAIRS") else -(-len(every) // MOST_PAIRS)
        tried, faults = set(), []
        for number, (one, other, text) in enumerate(every):
            pair = (one.name, other.name)
            if number % step and pair not in self.masked:
                continue
            tried.add(pair)
            verdicts = judged(self.exercise, text)
            found = names(verdicts)
            if all(v.state == PASS for v in verdicts.values()):
                faults.append(f"{pair} pass together:\n{text}")
            elif pair in self.masked:
                if not set(found) <= set(pair):
                    faults.append(f"{pair} named {found}")
            elif found:
                faults.append(f"{pair} named {found}:\n{text}")
        assert not faults, "\n".join(faults)
        assert tried or len(self.exercise.mistakes) < 2, "no two mistakes could be combined"
        assert set(self.masked) <= tried, "masked pairs that are no pairs"

    def test_every_change_of_the_syntax_tree_is_noticed_or_explained(self) -> None:
        survivors = {}
        for source in self.references():
            for mutant in mutants(source):
                if self.survives(mutant.source):
                    survivors[mutant.change] = mutant.source
        unexplained = {k: v for k, v in survivors.items() if k not in self.equivalent}
        assert not unexplained, "no case notices:\n" + "\n".join(unexplained)
        gone = [change for change in self.equivalent if change not in survivors]
        assert not gone, f"explained, but noticed or not made any more: {gone}"

    def references(self) -> list[str]:
        """The solution, and the sources of references that are functions of the library."""
        sources = [self.exercise.solution]
        for reference in self.exercise.reference.values():
            with_source = inspect.unwrap(reference)
            sources.append(textwrap.dedent(inspect.getsource(with_source)))
        return sources

    def survives(self, source: str) -> bool:
        """Whether a changed source passes in every part that it defines."""
        try:
            parts = self.exercise.load(source, module="answer")
        except Exception:
            return False
        return all(
            judge_part(self.exercise, part, value, quick=True).state == PASS
            for part, value in parts.items()
        )


def scaled(part: str, factors: tuple[float, ...] = (0.999, 1.001, 1.1)) -> tuple[str, ...]:
    """Wrong answers that no exercise should let pass: right ones, scaled a little.

    They come beside twenty of one's own, for they test tolerances and nothing else.
    """
    return tuple(
        f"_right = {part}\ndef {part}(*args):\n    return _right(*args) * {f}" for f in factors
    )


def seeded(seed: int) -> torch.Generator:
    """A source of chance of one's own."""
    return torch.Generator().manual_seed(seed)
