"""Starters and solutions, by the exercise's name, from where the checks have them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What a notebook shows of an exercise."""

    starter: str  # signature, docstring, and a body that is to be written
    solution: str
    line: str = ""  # difficulty, importance, minutes, core or further, as one line of Markdown
    mistakes: tuple[str, ...] = ()  # the names in its catalogue
    lesson: str = ""
    minutes: int = 0
    core: bool = True
    setup: str = ""  # imports that must have run before the answer's cell


Tasks = Callable[[str], Task]


def task(name: str) -> Task:
    """The task of the exercise called `name`, from `llama_course/checks/NAME.py`."""
    from llama_course.checks import find

    exercise = find(name)
    kind = "core" if exercise.core else "further"
    line = (
        f"*{exercise.difficulty}, about {exercise.minutes} minutes, {kind}.* {exercise.importance}"
    )
    return Task(
        starter=exercise.starter.strip("\n"),
        solution=exercise.solution.strip("\n"),
        line=line[0] + line[1].upper() + line[2:],
        mistakes=tuple(mistake.name for mistake in exercise.mistakes),
        lesson=exercise.lesson,
        minutes=exercise.minutes,
        core=exercise.core,
        setup=exercise.setup,
    )
