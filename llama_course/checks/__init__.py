"""The exercises: one file each, beside the words they are written in (`exercise`, `scripts`)."""

from __future__ import annotations

import importlib
import pkgutil

from llama_course.checks.exercise import Exercise
from llama_course.errors import CourseError, nearest

_NOT_EXERCISES = {"exercise", "scripts", "testing", "mutants", "engine"}


def names() -> list[str]:
    """The names of all exercises, in the order of the alphabet."""
    found = pkgutil.iter_modules(__path__)
    return sorted(m.name for m in found if m.name not in _NOT_EXERCISES)


def load(name: str) -> Exercise:
    """The exercise in the file `checks/NAME.py`."""
    return importlib.import_module(f"{__name__}.{name}").EXERCISE


def everything() -> list[Exercise]:
    """All exercises, in the order of the lessons: 00, the appendices, then by number."""
    loaded = [load(name) for name in names()]
    return sorted(loaded, key=lambda e: (e.lesson != "00", not e.lesson.startswith("A"), e.lesson))


def find(name: str) -> Exercise:
    """The exercise of that name, or the one of which it is a part."""
    if name in names():
        return load(name)
    # A part is often named like its file (Block, MyLlama): others need not be imported then.
    plain = name.replace("_", "").lower()
    for file in sorted(names(), key=lambda file: file.replace("_", "") != plain):
        exercise = load(file)
        if name in exercise.parts:
            return exercise
    known = [*names(), *(part for e in everything() for part in e.parts)]
    raise CourseError(f"There is no exercise {name!r}: {nearest(name, dict.fromkeys(known))}")
