"""Seeing that the last run of a cell failed, while an older definition of its name still stands."""

from __future__ import annotations

import re
import sys
import weakref
from collections.abc import Mapping
from typing import Any

from llama_course.workbook.source import executed, text_of

_runs: list[tuple[str, str | None]] = []  # each cell's text, and the name of its error
_shells: weakref.WeakSet[Any] = weakref.WeakSet()


def listen() -> None:
    """Hear of each cell that is run from now on; without IPython there is nothing to hear."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or shell in _shells:
        return
    _shells.add(shell)
    shell.events.register("post_run_cell", _heard)


def _heard(result: Any) -> None:
    error = result.error_before_exec or result.error_in_exec
    info = result.info
    cell = getattr(info, "transformed_cell", None) or getattr(info, "raw_cell", "") or ""
    _runs.append((cell, type(error).__name__ if error is not None else None))
    del _runs[:-1000]


def stale(name: str, answer: Any, namespace: Mapping[str, Any]) -> str | None:
    """A sentence where `answer` is not what the last cell that defines `name` would have made."""
    cells = executed(namespace) if "In" in namespace else []
    writes = re.compile(rf"^(?:async\s+)?(?:def|class)\s+{re.escape(name)}\b", re.MULTILINE)
    last = next((cell for cell in reversed(cells) if writes.search(cell)), None)
    own = text_of(answer)
    if last is None or own is None or last.strip() == own.strip():
        return None
    error = _error_of(last)
    if error is None:
        return None
    return (
        f"The last run of the cell that defines `{name}` ended with {error}, so Python still has "
        "your older one. Mend that cell, run it again, then check again."
    )


def _error_of(cell: str) -> str | None:
    """The name of the error with which a cell ended when it was last run, or None."""
    for text, error in reversed(_runs):
        if text.strip() == cell.strip():
            return error
    # It ran before anyone listened: one thing can still be known.
    try:
        compile(cell, "<cell>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return type(error).__name__
    return None
