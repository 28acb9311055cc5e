"""show() and compare(), which lessons call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from llama_course.errors import CourseError
from llama_course.workbook import notebook
from llama_course.workbook.notebook import compare, picture, ready, show

ALT = "The loss falls from 8 to 1 in three halvings."


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """What was displayed: the data and its metadata."""
    found: list[tuple[dict[str, str], dict[str, Any]]] = []

    def display(data: dict[str, str], raw: bool, metadata: dict[str, Any] | None = None) -> None:
        found.append((data, metadata or {}))

    monkeypatch.setattr("IPython.display.display", display)
    return found


def drawn(points: int = 4) -> Figure:
    figure = Figure(figsize=(4, 3))
    figure.add_subplot().plot(range(points))
    return figure


def test_a_figure_carries_its_words(shown: list[tuple[dict[str, str], dict[str, Any]]]) -> None:
    show(drawn(), alt=ALT)
    (data, metadata), (words, _) = shown
    assert metadata == {"image/png": {"alt": ALT}} and ALT in data["text/plain"]
    assert ALT in words["text/html"]  # JupyterLab gives pictures no alt text, so it stands below


def test_equal_figures_give_equal_bytes_without_versions() -> None:
    png = picture(drawn())
    assert png == picture(drawn()) != picture(drawn(5))
    assert b"Software" not in png and b"tEXt" not in png


def test_what_show_refuses(shown: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CourseError, match="says too little"):
        show(drawn(), alt="A plot.")
    with pytest.raises(CourseError, match="no axes"):
        show(Figure(), alt=ALT)
    monkeypatch.setattr(notebook, "LARGEST_PICTURE", 100)
    with pytest.raises(CourseError, match="draw fewer points"):
        show(drawn(), alt=ALT)


X = torch.linspace(-1, 1, 7)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"a": X, "b": X.clone()}, "a, b: exact"),
        ({"a": 0.5, "b": torch.tensor(0.5), "c": np.float32(0.5)}, "a, b, c: exact"),
        ({"a": X, "b": X * (1 + 3e-7)}, "a, b: close, the largest difference is below 1e-6"),
        ({"a": X, "b": X + 5e-6}, "a, b: close, the largest difference is below 1e-5"),
        ({"a": X.double(), "b": X.double() + 3e-13}, "below 1e-12"),
        ({"a": X, "b": X + 0.25}, "a, b: different, by up to 0.25"),
        ({"a": X.bfloat16(), "b": X.bfloat16() * 1.005}, "close"),
        ({"a": X, "b": X[:3]}, "a, b: different shapes, (7,), (3,)"),
        ({"a": float("nan"), "b": float("nan")}, "exact"),
        ({"a": 1.0, "b": float("nan")}, "different, by up to inf"),
        ({"a": X + 1j, "b": X - 1j}, "different, by up to 2"),
        ({"a": [], "b": []}, "exact"),
    ],
)
def test_compare(values: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    compare(**values)
    assert says in capsys.readouterr().out


def test_compare_needs_two() -> None:
    with pytest.raises(CourseError, match="two results or more"):
        compare(a=1)


def test_ready_says_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    ready()
    assert capsys.readouterr().out == "Ready: this kernel is the course's.\n"
