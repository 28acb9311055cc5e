"""In tests every annotated shape is enforced; outside, the package is left as it is written."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest
import torch

import llama_course
from llama_course.model import rms_norm

PACKAGE = Path(llama_course.__file__).parent


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="weight"):
        rms_norm(torch.ones(2, 8), torch.ones(7), 1e-6)


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="eps"):
        rms_norm(torch.ones(2, 8), torch.ones(8), "small")


def test_without_the_hook_nothing_is_decorated() -> None:
    code = (
        "import sys, torch\n"
        "from llama_course.model import rms_norm\n"
        "assert not hasattr(rms_norm, '__wrapped__')\n"
        "assert 'beartype' not in sys.modules\n"
        "print(rms_norm(torch.ones(1, 4), torch.ones(4), 1e-6).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.stdout.strip() == "torch.Size([1, 4])", done.stderr


def test_the_package_never_asks_for_a_checker() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping":
                names = {alias.name for alias in node.names}
                assert not names & {"jaxtyped", "install_import_hook"}, path
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                assert not any(name.split(".")[0] == "beartype" for name in names), path
