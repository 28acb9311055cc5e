"""The learner's own parts: kept as files when they pass, loaded one by one, put to use.

`<home>/my_llama/NAME.py` holds one function or class and all that it reads. Files are loaded by
their path, so a broken one is a sentence about that one and blocks no other.
"""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_course.checks.engine.judge import PASS, judge_part
from llama_course.checks.exercise import Exercise
from llama_course.errors import CourseError
from llama_course.files import write_text
from llama_course.model.components import Components
from llama_course.workbook.home import home
from llama_course.workbook.keep import CannotKeep, as_file


def folder() -> Path:
    """Where the learner's parts are."""
    return home() / "my_llama"


def keep(exercise: Exercise, part: str, answer: Any, namespace: Mapping[str, Any]) -> str:
    """Keep a part that has passed, and say so; or say why it is not kept. Raises nothing.

    The new file is loaded in an empty namespace and checked there before it takes the old one's
    place; a file that it replaces stays in `my_llama/older/`.
    """
    header = f'"""Your {part}, kept when it passed check("{exercise.name}")."""'
    try:
        text = as_file(part, answer, namespace, header)
        _prove(exercise, part, text)
        _put(part, text)
    except CannotKeep as reason:
        return f"Not kept in my_llama: {reason}"
    except OSError as error:
        told = error.strerror or type(error).__name__
        return f"Not kept in my_llama: the file {part}.py could not be written ({told})."
    except Exception as error:
        return f"Not kept in my_llama: {type(error).__name__} while the file was made."
    return f"Kept in my_llama/{part}.py."


def _prove(exercise: Exercise, part: str, text: str) -> None:
    """Load the text in an empty namespace and check it there, with its own helpers."""
    try:
        found = _run(text, f"<copy of {part}>", part)
    except Exception as error:
        raise CannotKeep(f"alone it does not load ({type(error).__name__}: {error}).") from error
    verdict = judge_part(exercise, part, found, alone=True)
    if verdict.state != PASS:
        raise CannotKeep(f"alone, with what it reads, it does not pass. {verdict.message}")


def _put(part: str, text: str) -> None:
    path = folder() / f"{part}.py"
    try:
        old = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        old = text
    except UnicodeDecodeError:
        old = path.read_bytes().decode("utf-8", errors="replace")
    if old == text and path.exists():
        return
    if old != text:
        write_text(folder() / "older" / f"{part}.py", old)
    write_text(path, text)


def _run(text: str, filename: str, part: str) -> Any:
    """What a text defines under a name, run in a namespace of its own."""
    module = types.ModuleType(f"my_llama.{part}")
    code = compile(text, filename, "exec", dont_inherit=True)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # a dataclass looks for its module there
    try:
        exec(code, module.__dict__)
    finally:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before
    return getattr(module, part)


def kept() -> list[str]:
    """The names of the parts that have a file, in the order of the alphabet."""
    return sorted(path.stem for path in folder().glob("*.py") if not path.name.startswith("."))


def load_mine(name: str) -> Any:
    """Your own function or class of that name, from `my_llama/NAME.py`.

    Raises CourseError in one sentence where there is none, or its file cannot be loaded.
    """
    path = folder() / f"{name}.py"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            words = f"There is no {path} yet: pass check({name!r}) and it is made."
        else:
            words = f"{path} cannot be read ({error}): pass check({name!r}) again and it is new."
        raise CourseError(words) from error
    try:
        return _run(text, str(path), name)
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {error}"
        words = f"{path} does not load ({told}): pass check({name!r}) again and it is made anew."
        raise CourseError(words) from error


@dataclass(frozen=True)
class Mine:
    """A learner's components: what is theirs, and one sentence for each file that does not load."""

    components: Components
    names: tuple[str, ...]
    problems: tuple[str, ...]


def my_components() -> Mine:
    """The library's components with every part of yours that is there in its place."""
    found: dict[str, Any] = {}
    problems = []
    there = kept()
    for field in dataclasses.fields(Components):
        if field.name in there:
            try:
                found[field.name] = load_mine(field.name)
            except CourseError as error:
                problems.append(str(error))
    return Mine(Components(**found), tuple(found), tuple(problems))
