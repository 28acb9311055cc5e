"""What every test stands on: shapes checked at run time, no network, chance fixed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Parallel test processes would otherwise fight over the processors. Read when torch starts.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("MPLBACKEND", "Agg")
HOME = Path(tempfile.mkdtemp(prefix="llama-course-home-"))
os.environ["LLAMA_COURSE_HOME"] = str(HOME)

# Every function of the package now checks its arguments against its annotations. The hook works
# at import, so the package must not be there yet.
early = [name for name in sys.modules if name.split(".")[0] == "llama_course"]
assert not early, f"{early} were imported before the hook that checks shapes"
from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("llama_course", "shape_checker.checked")  # tests/shape_checker.py

import numpy as np  # noqa: E402
import torch  # noqa: E402
from record_slow import listed  # noqa: E402

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fixed_chance() -> Iterator[None]:
    """The same random numbers in each test, whichever ran before it; torch's switches put back."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    yield
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad)


# Of each exercise: every pair of a catalogue, every change of the syntax tree, every wrong answer.
LONG_PROOFS = ("two_mistakes_at_once", "every_change_of_the_syntax_tree", "wrong_answers_outside")


@pytest.hookimpl(tryfirst=True)  # before -m decides what is left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    measured = {*listed()}
    for item in items:
        named = item.nodeid.split("[")[0]
        if named in measured or any(words in item.name for words in LONG_PROOFS):
            item.add_marker(pytest.mark.slow)


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)
