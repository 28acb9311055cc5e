"""Each mistake of a part that a model computes with: whether it moves the logits, and that
`compare` points to it where it does.

The table is `logits_table.py`; the model, what it reads and what counts as a move are in
`mistaken_models.py`. A child process does the work, since the shape checker of these tests would
stop many a wrong answer before it could show what it does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from logits_table import CANNOT, LOGITS, ROUNDINGS
from mistaken_models import pluggable

from llama_course.checks.exercise import Exercise

HERE = Path(__file__).parent
REPO = HERE.parents[1]
HOW = (
    "add a line to tests/workbook/logits_table.py (PYTHONPATH=. python "
    "tests/workbook/mistaken_models.py {0} shows what the mistakes of {0} do)"
)


def results(name: str, home: Path) -> dict[str, dict[str, str]]:
    """What the mistakes of one exercise do, from a child process."""
    environment = {**os.environ, "PYTHONPATH": str(REPO), "LLAMA_COURSE_HOME": str(home)}
    environment |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / "mistaken_models.py"), name],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        cwd=REPO,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)[name]


@pytest.mark.parametrize("exercise", pluggable(), ids=lambda e: e.name)
def test_the_table_has_every_mistake_and_every_reason(exercise: Exercise) -> None:
    table = LOGITS.get(exercise.name, {})
    names = [mistake.name for mistake in exercise.mistakes]
    new = [name for name in names if name not in table]
    gone = [name for name in table if name not in names]
    assert not new, f"{exercise.name}: no entry for {new}; {HOW.format(exercise.name)}"
    assert not gone, f"{exercise.name}: entries for mistakes that are gone: {gone}"
    assert all(set(code) <= set("M-R") and len(code) == 2 for code in table.values())
    still = [name for name, code in table.items() if code == "--"]
    assert set(CANNOT.get(exercise.name, {})) == set(still), (
        f"{exercise.name}: CANNOT in tests/workbook/logits_table.py must give a reason for each of "
        f"{still}, and for no other"
    )


def test_the_table_has_no_exercise_that_is_gone() -> None:
    assert {*LOGITS, *CANNOT, *ROUNDINGS} <= {exercise.name for exercise in pluggable()}


@pytest.mark.slow
@pytest.mark.parametrize("exercise", pluggable(), ids=lambda e: e.name)
def test_mistakes_move_the_logits_as_the_table_says(exercise: Exercise, tmp_path: Path) -> None:
    table = LOGITS.get(exercise.name, {})
    small = ROUNDINGS.get(exercise.name, {})
    faults = []
    for name, said in results(exercise.name, tmp_path).items():
        code = said["float32"] + said["bfloat16"]
        if code != table.get(name):
            faults.append(f"{name}: {code}, and the table says {table.get(name)}")
        for dtype in ("float32", "bfloat16"):
            told = said.get(f"{dtype} compare", "")
            if told and not (told == "no difference" and name in small):
                faults.append(f"{name}: it moves the logits in {dtype}, and compare: {told}")
        if name in small and "no difference" not in said.values():
            faults.append(f"{name}: compare tells it now; take it out of ROUNDINGS")
    assert not faults, "\n".join([f"{exercise.name}; {HOW.format(exercise.name)}:", *faults])
