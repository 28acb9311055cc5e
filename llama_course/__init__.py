"""LLaMA, built component by component, from a toy on a laptop to the released checkpoints."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_course.checkpoints import load, save
    from llama_course.config import ModelConfig
    from llama_course.errors import CourseError
    from llama_course.generation import generate
    from llama_course.model import Components, KVCache, Llama
    from llama_course.workbook.check import check
    from llama_course.workbook.hint import hint
    from llama_course.workbook.progress import progress
    from llama_course.workbook.quiz import quiz

__version__ = "0.1.0"

# Where each name lives. They are imported when first asked for, so that the command line's
# --help and `import llama_course.config` do not wait for torch.
_HOMES = {
    "ModelConfig": "config",
    "CourseError": "errors",
    "Llama": "model",
    "Components": "model",
    "KVCache": "model",
    "load": "checkpoints",
    "save": "checkpoints",
    "generate": "generation",
    "check": "workbook.check",
    "hint": "workbook.hint",
    "progress": "workbook.progress",
    "quiz": "workbook.quiz",
}

__all__ = [
    "Components",
    "CourseError",
    "KVCache",
    "Llama",
    "ModelConfig",
    "check",
    "generate",
    "hint",
    "load",
    "progress",
    "quiz",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
