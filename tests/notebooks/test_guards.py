"""The committed notebooks: made of what is in lessons/ now, complete, and giving nothing away.

What each guard sees is shown by planted faults in test_guards_planted.py.
"""

from __future__ import annotations

from llama_course.workbook.authoring import guards
from llama_course.workbook.authoring.lesson import lessons
from llama_course.workbook.home import repository
from llama_course.workbook.lint import lint

ROOT = repository()


def test_there_are_lessons_to_guard() -> None:
    assert lessons(ROOT)


def test_sources_are_built() -> None:
    assert guards.not_rebuilt(ROOT) == []


def test_exercises_hold_no_solution() -> None:
    assert guards.solutions_given_away(ROOT) == []


def test_every_cell_has_run_and_kept_its_output() -> None:
    assert guards.not_executed(ROOT) == []


def test_pictures_are_there_and_have_words() -> None:
    assert guards.bad_pictures(ROOT) == []


def test_no_check_is_skipped() -> None:
    assert guards.checks_skipped(ROOT) == []


def test_enough_outputs_are_compared() -> None:
    assert guards.too_little_compared(ROOT) == []


def test_lessons_keep_the_rules() -> None:
    assert [problem.words(ROOT) for problem in lint(None, ROOT)] == []
