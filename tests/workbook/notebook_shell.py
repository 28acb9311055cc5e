"""A notebook's kernel without the notebook: IPython's shell, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llama_course.workbook.stale import listen


class Notebook:
    """Runs cells as Jupyter does, and remembers nothing on the disk."""

    def __init__(self) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config()
        config.HistoryManager.enabled = False
        InteractiveShell.clear_instance()
        self.shell = InteractiveShell.instance(config=config)
        self.shell.showtraceback = lambda *args, **kwargs: None
        self.shell.showsyntaxerror = lambda *args, **kwargs: None
        self.run(
            "import torch\nfrom torch import Tensor\nfrom llama_course.workbook.check import check"
        )
        listen()  # as the import does in a kernel of its own

    def run(self, cell: str) -> Any:
        """Run a cell; a cell that fails is no error here."""
        return self.shell.run_cell(cell, store_history=True)

    def check(self, name: str) -> Any:
        """The result of `check(name)` in a cell of its own."""
        done = self.run(f"check({name!r})")
        assert done.success, "check raised in the notebook"
        return done.result


@contextmanager
def notebook() -> Iterator[Notebook]:
    """A fresh kernel, gone at the end."""
    shells = pytest.importorskip("IPython.core.interactiveshell")
    try:
        yield Notebook()
    finally:
        shells.InteractiveShell.clear_instance()
