"""`llama-course lint`: says what a lesson lacks, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from llama_course.errors import CourseError
from llama_course.workbook.authoring.lesson import Lesson, chosen, lessons
from llama_course.workbook.authoring.problem import Problem
from llama_course.workbook.authoring.rules_exercise import check_exercise
from llama_course.workbook.authoring.rules_instructor import check_instructor
from llama_course.workbook.authoring.rules_lesson import check_lesson
from llama_course.workbook.authoring.rules_quiz import check_quiz
from llama_course.workbook.authoring.sources import exercise_notebook, lesson_notebook
from llama_course.workbook.authoring.starters import Tasks, task
from llama_course.workbook.home import repository


def lint(
    names: Sequence[str] | None = None, root: Path | None = None, *, tasks: Tasks = task
) -> list[Problem]:
    """All problems of the lessons `names` (all for None), in the order of the files."""
    root = Path(root or repository()).resolve()
    everyone = lessons(root)
    problems: list[Problem] = []
    for lesson in chosen(root, names):
        problems += check(lesson, everyone, tasks)
    if not names:
        problems += palette(root)
    return problems


def check(lesson: Lesson, everyone: list[Lesson], tasks: Tasks) -> list[Problem]:
    """The problems of one lesson; a file that cannot be read is one of them."""
    rules: list[tuple[str, Callable[[], Iterable[Problem]]]] = [
        ("lesson.md", lambda: check_lesson(lesson, everyone)),
        ("exercise.md", lambda: check_exercise(lesson, tasks)),
        ("quiz.md", lambda: check_quiz(lesson, everyone, tasks)),
        ("instructor.md", lambda: check_instructor(lesson)),
        ("lesson.md", lambda: built(lesson)),
        ("exercise.md", lambda: built_exercise(lesson, tasks)),
    ]
    problems: dict[Problem, None] = {}  # in order, each once
    for name, rule in rules:
        try:
            problems |= dict.fromkeys(rule())
        except CourseError as error:
            problems[Problem(lesson.folder / name, 0, str(error))] = None
    return list(problems)


def built(lesson: Lesson) -> list[Problem]:
    """What the builder refuses (a missing or doubled cell name) is said here already."""
    lesson_notebook(lesson)
    return []


def built_exercise(lesson: Lesson, tasks: Tasks) -> list[Problem]:
    """The same of the exercise."""
    exercise_notebook(lesson, tasks, solved=False)
    return []


def palette(root: Path) -> Iterator[Problem]:
    """Colours in the package's figures that are not from the palette in plots/style.py."""
    for path in sorted((root / "llama_course" / "plots").glob("*.py")):
        if path.name == "style.py":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if re.search(r"#[0-9a-fA-F]{6}\b|color\s*=\s*[\"'](?!none|white)", line):
                yield Problem(path, number, "take colours from llama_course/plots/style.py.")


def report(names: Sequence[str] | None = None, root: Path | None = None) -> int:
    """The command: print each problem on a line, and return the exit code."""
    root = Path(root or repository()).resolve()
    count = len(chosen(root, names))
    problems = lint(names, root)
    for problem in problems:
        print(problem.words(root))
    lessons_ = "1 lesson" if count == 1 else f"{count} lessons"
    if problems:
        print(f"\n{len(problems)} to mend in {lessons_}.")
        return 1
    print(f"{lessons_}: nothing to mend.")
    return 0
