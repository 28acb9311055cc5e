"""Pictures of what a learner sees: each lesson, and the card in each of its states.

    python tests/browser/screenshots.py FOLDER [LESSON ...]

Light and dark. They are for looking at; no test compares them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from lab_driver import REPO, VISIBLE, Lab

HEAD = "def rms_norm(x, weight, eps):\n"
STATES = {
    "not-attempted": HEAD + "    raise NotImplementedError\n",
    "wrong-named": HEAD + "    wide = x.float()\n"
    "    root = wide.pow(2).mean(-1, keepdim=True).sqrt() + eps\n"
    "    return (wide / root).to(x.dtype) * weight\n",
    "wrong-unknown": HEAD + "    return x * weight * 0.5\n",
    "wrong-shape": HEAD + "    return (x * weight).sum(-1)\n",
    "crashed": HEAD + "    return x / torch.sqrt(x.pow(2).mean(-1) + eps) * wieght\n",
    "endless": HEAD + "    while x.dtype == torch.bfloat16:\n        x = x + 0\n    return x\n",
    "borrowed": HEAD + "    return torch.nn.functional.rms_norm(x, weight.shape, weight, eps)\n",
    "passes": HEAD + "    wide = x.float()\n"
    "    root = (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt()\n"
    "    return (wide / root).to(x.dtype) * weight\n",
}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    names = sys.argv[2:] or [p.stem for p in sorted((REPO / "notebooks").glob("*.ipynb"))]
    for dark in (False, True):
        theme = "dark" if dark else "light"
        with tempfile.TemporaryDirectory() as home, Lab(Path(home) / "my_work", dark) as lab:
            for name in names:
                page = lab.open(f"{name}.ipynb", height=14_000)
                page.wait_for_timeout(6000)
                page.locator(f"{VISIBLE} .jp-NotebookPanel-notebook").first.screenshot(
                    path=folder / f"{name}-{theme}.png"
                )
                page.close()
            page = lab.open("exercises/04_rmsnorm.ipynb")
            answer = lab.cell(page, "def rms_norm")
            check = lab.cell(page, 'check("rms_norm")')
            for state, code in STATES.items():
                lab.type_into(page, answer, code)
                lab.run_all(page)
                page.wait_for_timeout(1500)
                lab.output(check).screenshot(path=folder / f"card-{state}-{theme}.png")
                print(folder / f"card-{state}-{theme}.png", flush=True)


if __name__ == "__main__":
    main()
