"""The learner's own parts: kept as files when they pass, loaded one by one, put to use.

`<home>/my_llama/NAME.py` holds one function or class and all that it reads. Files are loaded by
their path, so a broken one is a sentence about that one and blocks no other.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
import threading
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_course import checks, mine
from llama_course.checks.engine.judge import PASS, judge_part
from llama_course.checks.exercise import Exercise
from llama_course.errors import CourseError
from llama_course.files import write_text
from llama_course.model import Components
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
    if _is_already(part, answer):
        return f"Kept in my_llama/{part}.py."
    try:
        text = _text(exercise, part, answer, {**namespace, **_classes(exercise, part, namespace)})
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


def _is_already(part: str, answer: Any) -> bool:
    """Whether the answer is what is kept, imported from `llama_course.mine`."""
    try:
        return is_kept(part) and load_mine(part) is answer
    except CourseError:
        return False


def _text(exercise: Exercise, part: str, answer: Any, namespace: Mapping[str, Any]) -> str:
    header = f'"""Your {part}, kept when it passed check("{exercise.name}")."""'
    return as_file(part, answer, namespace, header)


def _classes(exercise: Exercise, part: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The classes among what is kept already, as `llama_course.mine` gives them.

    A copied class is another class, so a kept MyLlama imports the kept Block instead: where the
    one in the notebook is the one that was kept.
    """
    found = {}
    for name, value in namespace.items():
        if name == part or not isinstance(value, type) or not is_kept(name):
            continue
        try:
            of = checks.find(name)
            if _text(of, name, value, namespace) == _read(folder() / f"{name}.py"):
                found[name] = load_mine(name)
        except (CannotKeep, CourseError, OSError):
            continue
    return found


def _prove(exercise: Exercise, part: str, text: str) -> None:
    """Load the text in an empty namespace and check it there, with its own helpers."""
    try:
        with _being_loaded(part):
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


def is_kept(name: str) -> bool:
    """Whether a part has a file."""
    return name.isidentifier() and (folder() / f"{name}.py").is_file()


# ---- loading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loaded:
    """What a file gave, and what it had asked `llama_course.mine` for."""

    text: str
    value: Any
    asked: dict[str, Any]


_loaded: dict[Path, _Loaded] = {}


class _Loading(threading.local):
    """The files that are being loaded now, the innermost last: (name, what it asked for)."""

    def __init__(self) -> None:
        self.stack: list[tuple[str, dict[str, Any]]] = []


_loading = _Loading()


@contextmanager
def _being_loaded(name: str) -> Iterator[dict[str, Any]]:
    """Gathers what the file of a part asks for while it is loaded."""
    refuse_circles(name)
    asked: dict[str, Any] = {}
    _loading.stack.append((name, asked))
    try:
        yield asked
    finally:
        _loading.stack.pop()


def refuse_circles(name: str) -> None:
    """Raise CourseError where a part is asked for while its own file is loaded."""
    if any(name == other for other, _ in _loading.stack):
        raise CourseError(f"the file of {name} needs itself: it imports {name} again.")


def asked_for(name: str, value: Any) -> None:
    """The file that is being loaded, if any, was given this by `llama_course.mine`."""
    if _loading.stack:
        _loading.stack[-1][1][name] = value


def load_mine(name: str) -> Any:
    """Your own function or class of that name, from `my_llama/NAME.py`.

    The same object as long as the file, and every part that it imports from `llama_course.mine`,
    stays the same. Raises CourseError in one sentence where there is none, or its file cannot be
    loaded.
    """
    path = folder() / f"{name}.py"
    try:
        text = _read(path)
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            words = f"There is no {path} yet: pass check({name!r}) and it is made."
        else:
            words = f"{path} cannot be read ({error}): pass check({name!r}) again and it is new."
        raise CourseError(words) from error
    try:
        with _being_loaded(name) as asked:
            last = _loaded.get(path)
            if last is not None and last.text == text and _same(last.asked):
                return last.value
            value = _run(text, str(path), name)
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {error}"
        words = f"{path} does not load ({told}): pass check({name!r}) again and it is made anew."
        raise CourseError(words) from error
    # Whoever looks where it comes from finds the import that gives it.
    if getattr(value, "__module__", None) == f"my_llama.{name}":
        value.__module__ = "llama_course.mine"
    _loaded[path] = _Loaded(text, value, asked)
    return value


def _same(asked: Mapping[str, Any]) -> bool:
    """Whether `llama_course.mine` would give these very objects now."""
    try:
        return all(mine.given(name)[0] is value for name, value in asked.items())
    except CourseError:
        return False


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


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
    for field in dataclasses.fields(Components):
        if is_kept(field.name):
            try:
                found[field.name] = load_mine(field.name)
            except CourseError as error:
                problems.append(str(error))
    return Mine(Components(**found), tuple(found), tuple(problems))


@dataclass(frozen=True)
class Whose:
    """Which parts are the learner's and which the library's; printing it says so in a few lines."""

    yours: tuple[str, ...]
    library: tuple[str, ...]
    notes: tuple[str, ...] = ()  # a sentence each: a file that does not load, what had to be done

    def __str__(self) -> str:
        lines = [f"yours: {', '.join(self.yours) or 'nothing yet'}"]
        if self.library:
            lines.append(f"the library's: {', '.join(self.library)}")
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__  # a notebook shows it


def whose_are(names: Iterable[str]) -> Whose:
    """Whose each of these parts of `llama_course.mine` is."""
    yours, library, problems = [], [], []
    for name in names:
        problem = None
        if is_kept(name):
            try:
                load_mine(name)
                yours.append(name)
                continue
            except CourseError as error:
                problem = str(error)
        there = mine.library(name) is not None
        if there:
            library.append(name)
        if problem is not None:
            problems.append(f"{problem} Until then the library's is used." if there else problem)
    return Whose(tuple(yours), tuple(library), tuple(problems))


def used_by(name: str) -> Whose:
    """Whose everything is that a kept file has from `llama_course.mine`, and what that has."""
    found = [name]
    for part in found:
        loaded = _loaded.get(folder() / f"{part}.py")
        if loaded is not None:
            asked = [*loaded.asked, *_read_later(loaded.text)]
            found += [other for other in dict.fromkeys(asked) if other not in found]
    known = [other for other in mine.NAMES if other in found]
    return whose_are([*known, *sorted(set(found) - set(known))])


def _read_later(text: str) -> list[str]:
    """The parts that a file takes from `llama_course.mine` while it runs: `mine.rms_norm(...)`."""
    tree = ast.walk(ast.parse(text))
    names = {node.attr for node in tree if isinstance(node, ast.Attribute)}
    return [name for name in mine.NAMES if name in names and "mine" in text]
