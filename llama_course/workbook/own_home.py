"""A pytest plugin for nbval: each notebook has a learner's folder of its own.

Notebooks were built that way, and two that run at the same time must not keep their answers in
one folder: what one of them reads there would depend on how far the other one is.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)  # nbval starts the kernel in the runner's own setup
def pytest_runtest_setup(item: pytest.Item) -> None:
    whole = os.environ.setdefault("LLAMA_COURSE_HOMES", os.environ["LLAMA_COURSE_HOME"])
    notebook = item.path
    home = Path(whole) / notebook.parent.name / notebook.stem
    home.mkdir(parents=True, exist_ok=True)
    os.environ["LLAMA_COURSE_HOME"] = str(home)
