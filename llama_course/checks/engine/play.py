"""Playing a case on an answer: the script runs, and what comes out is written down."""

from __future__ import annotations

import contextlib
import io
import linecache
import sysconfig
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, no_type_check

import torch

from llama_course.checks.engine.answer import Answer, Failed, Handle
from llama_course.checks.engine.borrowed import Watch
from llama_course.checks.engine.limits import run_limited
from llama_course.checks.engine.plain import frozen, is_plain, kind, without_addresses
from llama_course.checks.engine.surroundings import settle
from llama_course.checks.exercise import Case, Exercise

TIME = 0.4  # seconds of processor time for one case, unless the reference itself is slow
_PACKAGE = str(Path(__file__).resolve().parents[2])
_NOT_THE_LEARNERS = tuple(
    {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
)


@dataclass(frozen=True)
class Odd:
    """Stands in a transcript for an object that is no plain value."""

    what: str


@dataclass(frozen=True)
class Raised:
    """An exception that ended a script."""

    name: str
    ancestors: tuple[str, ...]
    message: str
    place: str  # "in `rms_norm`, at the line `return x / 0`", or empty
    by_script: bool = False  # the script could not go on with what it got

    @property
    def unwritten(self) -> bool:
        """A line that the starter left to write; torch raises the same for a wrong dtype."""
        if self.name != "NotImplementedError":
            return False
        return "raise NotImplementedError" in self.place or not self.message


@dataclass(frozen=True)
class Transcript:
    """What one script gave: named plain values in order, and how it ended."""

    steps: tuple[tuple[str, Any], ...]
    raised: Raised | None
    changed: tuple[str, ...]  # arguments that are not what they were
    returned: tuple[str, ...]  # arguments whose own memory was returned
    printed: str
    seconds: float


@no_type_check
def play(
    exercise: Exercise,
    case: Case,
    parts: Mapping[str, Any],
    watch: Watch | None = None,
    seconds: float | None = None,
) -> Transcript:
    """Run one case on these parts, within `put_back()`.

    With `seconds` it runs in a thread that can be given up, and raises TooLong where it does not
    end; without, where it is: for the reference and the catalogue. `watch` is told of everything
    the parts call. Printed text is caught: a check of twenty cases would fill the notebook with it.
    """
    answer = Answer(parts, exercise.arguments, watch)
    steps: list[tuple[str, Any]] = []

    def script() -> Raised | None:
        # Grad mode and the default device belong to the thread.
        with torch.inference_mode(False), torch.enable_grad(), _on_cpu():
            try:
                for name, value in case.script(answer):
                    steps.append((name, _entry(value)))
            except Failed as failed:
                assert failed.__cause__ is not None
                return _raised(failed.__cause__)
            except Exception as error:
                return _raised(error, by_script=True)
        return None

    printed = io.StringIO()
    settle()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        if seconds is None:
            start = time.thread_time()
            raised = script()
            used = time.thread_time() - start
        else:
            raised, used = run_limited(script, seconds)
    return Transcript(
        tuple(steps),
        raised,
        tuple(c for c in answer._changed if c not in case.may_change),
        tuple(answer._returned),
        without_addresses(printed.getvalue()[:2000]),
        used,
    )


@no_type_check
def _on_cpu() -> contextlib.AbstractContextManager[Any]:
    # Looked at first, since the context slows every operation.
    usual = torch.get_default_device().type == "cpu"
    return contextlib.nullcontext() if usual else torch.device("cpu")


@no_type_check
def _entry(value: Any) -> Any:
    if isinstance(value, Handle):
        return Odd(kind(value._target))
    return frozen(value) if is_plain(value) else Odd(kind(value))


def _raised(error: BaseException, by_script: bool = False) -> Raised:
    names = tuple(t.__name__ for t in type(error).__mro__ if t not in (object, BaseException))
    message = without_addresses(str(error)).strip().split("\n")[0][:300]
    return Raised(type(error).__name__, names, message, _place(error), by_script)


def _place(error: BaseException) -> str:
    """The innermost frame that is the learner's own."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_learners(f.filename)]
    if not frames:
        return ""
    last = frames[-1]
    line = linecache.getline(last.filename, last.lineno or 0).strip()
    return f"in `{last.name}`" + (f", at the line `{line}`" if line else "")


def _is_learners(filename: str) -> bool:
    if filename.startswith(("<exercise", "<setup", "<frozen", _PACKAGE)):
        return False
    return not any(filename.startswith(folder) for folder in _NOT_THE_LEARNERS)
