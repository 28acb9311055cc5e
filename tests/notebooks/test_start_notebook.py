"""The committed notebook is its source, executed."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).parents[2]
NAME = "00_start_here"
SOURCE = jupytext.read(ROOT / "lessons" / NAME / "lesson.md")
BUILT = nbformat.read(ROOT / "notebooks" / f"{NAME}.ipynb", as_version=4)


def test_the_cells_are_those_of_the_source() -> None:
    wanted = [(c.cell_type, c.source) for c in SOURCE.cells]
    assert [(c.cell_type, c.source) for c in BUILT.cells] == wanted
    names = [c.metadata["name"] for c in SOURCE.cells if c.cell_type == "code"]
    assert [c.id for c in BUILT.cells if c.cell_type == "code"] == names


def test_every_code_cell_was_run_in_order_and_shows_what_it_gave() -> None:
    code = [c for c in BUILT.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert all(c.outputs for c in code)
    assert not [o for c in code for o in c.outputs if o.output_type == "error"]
    pictures = [o for c in code for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 1 and len(pictures[0].data["image/png"]) > 10_000


def test_nothing_of_the_machine_that_built_it_is_inside() -> None:
    assert BUILT.metadata == {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    text = (ROOT / "notebooks" / f"{NAME}.ipynb").read_text(encoding="utf-8")
    assert str(ROOT) not in text and "/tmp/" not in text
