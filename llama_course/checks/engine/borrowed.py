"""Seeing, while an answer runs, whether it calls the very thing that it should build.

Looking at the source would miss aliases and catch comments. Torch shows every operation that Python
code asks for to a function mode, whatever name it was asked for by; calls of Python functions are
seen by a profile hook. What a torch operation does inside itself is nobody's borrowing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import wraps
from types import FrameType
from typing import Any, no_type_check

from torch.overrides import TorchFunctionMode, resolve_name

# Frames between the caller and the called that belong to neither.
_BETWEEN = ("torch", "jaxtyping", "beartype", "functools", "contextlib")
_ENGINE = ("llama_course.checks.", "llama_course.workbook.")
_TEXT = "llama_course.checks.text"  # solutions and references made from an exercise's text


@no_type_check
class Watch:
    """Remembers the first forbidden call; `pause` lets the reference's own parts do theirs."""

    def __init__(self, forbidden: tuple[str, ...], may_use: tuple[str, ...]) -> None:
        self.operations = tuple(p for p in forbidden if "." not in p)
        self.functions = tuple(p for p in forbidden if "." in p)
        self.may_use = may_use
        self.found: str | None = None
        self.paused = 0

    def operation(self, function: Any) -> None:
        """A torch operation was asked for."""
        name = str(getattr(function, "__name__", ""))
        if self.found is None and not self.paused and self._forbids(name):
            self.found = _full_name(function, name)

    def _forbids(self, name: str) -> bool:
        base = name.split(".")[0].strip("_").lower()
        return any(fnmatchcase(base, pattern) for pattern in self.operations)

    def frame(self, frame: FrameType, event: str, _: Any) -> None:
        """A Python function was entered."""
        if event != "call" or self.found is not None or self.paused:
            return
        module = str(frame.f_globals.get("__name__", ""))
        # A module's body and a class's body are not functions that one calls.
        name = frame.f_code.co_qualname
        if self._is_ours(module):
            if name != "<module>" and not any(_within(module, free) for free in self.may_use):
                caller = _caller(frame)
                if not self._is_ours(caller):
                    self.found = _ours(module, name)
        elif not _within(module, "torch"):
            full = f"{module}.{name}"
            if any(fnmatchcase(full, pattern) for pattern in self.functions):
                self.found = full

    def _is_ours(self, module: str) -> bool:
        if module.startswith(_TEXT):
            return True
        return _within(module, "llama_course") and not module.startswith(_ENGINE)

    def pausing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, not watched while it runs."""

        @wraps(function)
        def unwatched(*args: Any, **kwargs: Any) -> Any:
            self.paused += 1
            try:
                return function(*args, **kwargs)
            finally:
                self.paused -= 1

        return unwatched

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread."""
        before = sys.getprofile()
        with _Mode(self):
            sys.setprofile(self.frame)
            try:
                yield
            finally:
                sys.setprofile(before)


@no_type_check
class _Mode(TorchFunctionMode):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.watch.operation(func)
        return func(*args, **(kwargs or {}))


@no_type_check
def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@no_type_check
def _caller(frame: FrameType) -> str:
    """The module that a call came from, past torch's and the shape checker's own frames."""
    back = frame.f_back
    while back is not None:
        module = str(back.f_globals.get("__name__", ""))
        if module.split(".")[0] not in _BETWEEN:
            return module
        back = back.f_back
    return ""


def _full_name(function: Any, name: str) -> str:
    full = resolve_name(function) or name
    return re.sub(r"^aten\b", "torch.ops.aten", full)


def _ours(module: str, name: str) -> str:
    if module.startswith(_TEXT):
        return f"the course's own solution, {name}"
    return f"{module}.{name}"
