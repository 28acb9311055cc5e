"""A small repository for the tests: the sample lessons, a copy of the package, a quick builder."""

from __future__ import annotations

import base64
import copy
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave

from llama_course.errors import CourseError
from llama_course.workbook import build as building
from llama_course.workbook.authoring.starters import Task
from llama_course.workbook.home import repository

SAMPLE = Path(__file__).with_name("sample_course")
ALT = "A stand-in picture: noise, drawn with a fixed seed."

sys.path.insert(0, str(SAMPLE))
from halve import TASK  # noqa: E402


def tasks(name: str) -> Task:
    """The one exercise of the sample."""
    if name != "halve":
        raise CourseError(f"There is no exercise {name!r}: did you mean halve?")
    return TASK


def make(folder: Path, package: bool = True) -> Path:
    """The sample lessons in a repository of their own, with the package if it is needed."""
    root = folder / "repo"
    shutil.copytree(SAMPLE, root, ignore=shutil.ignore_patterns("__pycache__", "halve.py"))
    if package:
        left_out = shutil.ignore_patterns("__pycache__", "quizzes", "*.safetensors")
        shutil.copytree(repository() / "llama_course", root / "llama_course", ignore=left_out)
    return root


def png(seed: int = 0) -> str:
    """A picture with content."""
    buffer = io.BytesIO()
    imsave(buffer, np.random.default_rng(seed).random((60, 60, 3)), format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def pretend(nb: dict[str, Any], root: Path, where: str) -> dict[str, Any]:
    """In place of running a notebook: outputs of the kinds that running it gives, at once."""
    done = copy.deepcopy(nb)
    count = 0
    for cell in done["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        cell["execution_count"] = count
        if "show(" in cell["source"]:
            cell["outputs"] = [
                {
                    "output_type": "display_data",
                    "data": {"image/png": png(), "text/plain": ALT},
                    "metadata": {"image/png": {"alt": ALT}},
                }
            ]
        elif "raises-exception" in cell["metadata"].get("tags", []):
            cell["outputs"] = [
                {"output_type": "error", "ename": "E", "evalue": "e", "traceback": ["E: e"]}
            ]
        else:
            text = "✓ halve: passes\n" if "check(" in cell["source"] else "3.5\n"
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
    return done


class Builder:
    """Builds without kernels, and remembers what it ran."""

    def __init__(self, monkeypatch: Any, root: Path) -> None:
        self.root, self.ran = root, list[str]()

        def run(nb: dict[str, Any], root: Path, where: str) -> dict[str, Any]:
            self.ran.append(where)
            return pretend(nb, root, where)

        monkeypatch.setattr(building, "execute", run)

    def __call__(self, *names: str, **options: Any) -> dict[str, str]:
        """Build; returns the state of each file."""
        self.ran.clear()
        say: Callable[[str], None] = options.pop("say", lambda _: None)
        found = building.build(list(names), self.root, tasks=tasks, say=say, **options)
        return {b.path.relative_to(self.root).as_posix(): b.state for b in found}

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that occurs in a file."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new, 1), encoding="utf-8", newline="\n")
