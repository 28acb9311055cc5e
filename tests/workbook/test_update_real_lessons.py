"""The course's own exercises, half done by a learner, take a release that rewords everything."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from llama_course.workbook.cells import code_cell, notebook, read_notebook, write_notebook
from llama_course.workbook.home import prepare, repository
from llama_course.workbook.update import update

EXERCISES = sorted(path.name for path in (repository() / "exercises").glob("*.ipynb"))


def role(cell: dict[str, Any]) -> str | None:
    return cell["metadata"].get("course", {}).get("role")


def reworded(nb: dict[str, Any]) -> dict[str, Any]:
    """The next release: every text and every code cell but the answers has another wording."""
    nb = copy.deepcopy(nb)
    for cell in nb["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] += "\n\nSaid more clearly."
        elif role(cell) != "answer":
            cell["source"] += "\n# of the new release"
    return notebook(nb["cells"], nb["metadata"]["course"])


@pytest.mark.parametrize("name", EXERCISES)
def test_half_through_a_real_exercise(name: str, tmp_path: Path) -> None:
    home, root = tmp_path / "my_work", tmp_path / "release"
    (root / "notebooks").mkdir(parents=True)
    old = read_notebook(repository() / "exercises" / name)
    write_notebook(root / "exercises" / name, old)
    prepare(home, root)

    # The learner answers the first exercise, leaves the others, and adds a cell after the answer.
    mine = home / "exercises" / name
    work = read_notebook(mine)
    at = next(i for i, cell in enumerate(work["cells"]) if role(cell) == "answer")
    work["cells"][at]["source"] += "\n# my own answer"
    answered = work["cells"][at]["source"]
    work["cells"].insert(at + 1, code_cell("scratch", "print('a try of my own')"))
    write_notebook(mine, work)

    new = reworded(old)
    write_notebook(root / "exercises" / name, new)
    states = {result.path.name: result.state for result in update(home, root)}
    assert states == {name: "updated"}

    after = {cell["id"]: cell["source"] for cell in read_notebook(mine)["cells"]}
    assert after.pop("scratch") == "print('a try of my own')"
    expected = {cell["id"]: cell["source"] for cell in new["cells"]}
    expected[work["cells"][at]["id"]] = answered
    assert {key: after[key] for key in expected} == expected
    # Besides, the update may leave a note of what it did; nothing of the old wording is left.
    assert all(
        "Said" in text or "release" in text for key, text in after.items() if key not in expected
    )
    kept = list(mine.parent.glob("*.before-update-1.ipynb"))
    assert len(kept) == 1 and read_notebook(kept[0])["cells"] == work["cells"]
