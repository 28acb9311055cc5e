"""A learner's minutes in a real browser: open the exercise, err, read the card, mend it, pass.

Needs Playwright and a Chromium of the system (Debian: `apt install chromium`); skipped without.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
if not (shutil.which("chromium") or shutil.which("chromium-browser")):
    pytest.skip("no Chromium on this machine", allow_module_level=True)

from lab_driver import Lab

pytestmark = pytest.mark.slow

OUTSIDE = """def rms_norm(x, weight, eps):
    wide = x.float()
    return (wide / (wide.pow(2).mean(-1, keepdim=True).sqrt() + eps)).to(x.dtype) * weight
"""
RIGHT = """def rms_norm(x, weight, eps):
    wide = x.float()
    return (wide / (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt()).to(x.dtype) * weight
"""


def test_a_wrong_answer_is_named_and_a_right_one_passes(tmp_path: Path) -> None:
    home = tmp_path / "my_work"
    with Lab(home) as lab:
        page = lab.open("exercises/04_rmsnorm.ipynb")
        answer = lab.cell(page, "def rms_norm")
        card = lab.output(lab.cell(page, 'check("rms_norm")'))

        lab.type_into(page, answer, OUTSIDE)
        lab.run_all(page)
        card.get_by_text("not right yet").first.wait_for()
        assert "epsilon" in card.inner_text() and "outside the root" in card.inner_text()
        assert not (home / "my_llama").exists()

        lab.type_into(page, answer, RIGHT)
        lab.run_all(page)
        card.get_by_text("rms_norm: passes").first.wait_for()
        assert "Kept in my_llama/rms_norm.py" in card.inner_text()

        lab.type_into(page, answer, RIGHT + "\nfrom llama_course import progress\nprogress()")
        lab.run_all(page)
        lab.output(answer).get_by_text("1 of").first.wait_for()
    assert (home / "my_llama" / "rms_norm.py").is_file()
    assert "rms_norm" in json.loads((home / "progress.json").read_text(encoding="utf-8"))["passed"]
