"""The rules for exercise.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from llama_course.errors import CourseError
from llama_course.workbook.authoring.lesson import Lesson, SourceCell
from llama_course.workbook.authoring.problem import Problem, at
from llama_course.workbook.authoring.prose import check_columns, check_prose
from llama_course.workbook.authoring.rules_lesson import EXERCISE, EXERCISE_OPTIONS, check_cells
from llama_course.workbook.authoring.starters import Task, Tasks

FRONT = {"lesson", "title", "uses"}


def check_exercise(lesson: Lesson, tasks: Tasks) -> Iterator[Problem]:
    """Answers and their checks, the front matter, and what holds for every cell."""
    source = lesson.exercise
    for key in sorted(set(source.front) - FRONT):
        yield Problem(source.path, 1, f"front matter: '{key}' is not a known key.")
    if str(source.front.get("lesson")) != lesson.number:
        yield Problem(source.path, 1, f"front matter: 'lesson' must be \"{lesson.number}\".")
    yield from check_cells(source, EXERCISE_OPTIONS)
    yield from check_prose(source)
    yield from check_columns(source)
    answers = [cell for cell in source.code() if "answer" in cell.options]
    if not answers:
        yield Problem(
            source.path, 0, "there is nothing to answer: add a cell with ':answer: NAME'."
        )
    core = 0
    for cell in answers:
        try:
            found = tasks(str(cell.options["answer"]))
        except CourseError as error:
            yield at(source.path, cell, str(error))
            continue
        core += found.minutes if found.core else 0
        yield from _check_task(lesson, cell, found)
    if core > EXERCISE:
        yield Problem(
            source.path, 0, f"the core exercises take {core} minutes, at most {EXERCISE}."
        )
    stated = (lesson.lesson.front.get("minutes") or {}).get("exercise")
    if isinstance(stated, int) and core > stated:
        yield Problem(
            lesson.lesson.path,
            1,
            f"front matter: exercise has {stated} minutes, and its core tasks take {core}.",
        )
    yield from _check_pairs(lesson, answers)


def _check_task(lesson: Lesson, cell: SourceCell, found: Task) -> Iterator[Problem]:
    path = lesson.exercise.path
    if cell.source.strip():
        yield at(path, cell, "leave the body empty: starter and solution come from the checks.")
    if found.lesson and found.lesson != lesson.number:
        yield at(path, cell, f"this exercise belongs to lesson {found.lesson}.")
    try:
        same = ast.dump(ast.parse(found.starter)) == ast.dump(ast.parse(found.solution))
    except SyntaxError as error:
        yield at(path, cell, f"starter or solution is no Python: {error.msg}.")
        return
    if same:
        yield at(path, cell, "the starter is the solution.")
    ran = "\n".join(c.source for c in lesson.exercise.code() if c.line < cell.line).split("\n")
    for line in found.setup.split("\n"):
        if line.strip() and line not in ran:
            yield at(
                path, cell, f"an earlier cell must have the line {line!r}, which the starter needs."
            )
    for line in solution_lines(found):
        if line in lesson.exercise.text:
            yield at(
                path, cell, f"the solution's line {line!r} stands in exercise.md: take it out."
            )


def solution_lines(found: Task) -> list[str]:
    """Lines that only the solution has and that say something: what must not be given away."""
    lines = [line.strip() for line in found.solution.split("\n")]
    known = found.starter
    return [line for line in lines if line not in known and len(line) >= 12 and line[0] != "#"]


def _check_pairs(lesson: Lesson, answers: list[SourceCell]) -> Iterator[Problem]:
    source = lesson.exercise
    checks = [cell for cell in source.code() if "check" in cell.options]
    checked = [str(cell.options["check"]) for cell in checks]
    names = [str(cell.options["answer"]) for cell in answers]
    for cell, name in zip(answers, names, strict=True):
        if names.count(name) > 1:
            yield at(source.path, cell, f"{name!r} is answered in two cells.")
        after = [str(c.options["check"]) for c in checks if c.line > cell.line]
        if name not in after:
            yield at(source.path, cell, f"a check of it is missing below: ':check: {name}'.")
    for cell, name in zip(checks, checked, strict=True):
        if name not in names:
            yield at(source.path, cell, f"there is no answer cell for {name!r}.")
        if checked.count(name) > 1:
            yield at(source.path, cell, f"{name!r} is checked in two cells.")
        if cell.source.strip():
            yield at(source.path, cell, "leave the body empty: the builder writes the check.")
        if cell.tags or cell.options.get("ignore"):
            yield at(source.path, cell, "a check cell has no tags and ignores nothing.")
        points = cell.options.get("points")
        if not isinstance(points, int) or points < 1:
            yield at(source.path, cell, "give the check its ':points:', a whole number.")
