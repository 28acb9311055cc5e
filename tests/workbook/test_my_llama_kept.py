"""What passes is kept with all that it reads, loads alone, and never gets worse."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from notebook_shell import Notebook, notebook

from llama_course import checks
from llama_course.errors import CourseError
from llama_course.model import Components, rms_norm
from llama_course.workbook import my_llama
from llama_course.workbook.check import check
from llama_course.workbook.my_llama import load_mine, my_components

BODY = "    wide = x.float()\n    return (wide / {root}).to(x.dtype) * weight\n"
PLAIN = "def rms_norm(x, weight, eps):\n" + BODY.format(
    root="torch.sqrt(wide.square().mean(-1, keepdim=True) + eps)"
)
USES_HELPER = "def rms_norm(x, weight, eps):\n" + BODY.format(root="root_of(wide, eps)")
HELPER = "def root_of(v, e):\n    return torch.sqrt(v.square().mean(-1, keepdim=True) + e)\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLAMA_COURSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def book() -> Iterator[Notebook]:
    with notebook() as found:
        yield found


def kept_by(*cells: str, name: str = "rms_norm") -> str:
    """The note on the card after these cells; the kernel is gone afterwards."""
    with notebook() as book:
        for cell in cells:
            book.run(cell)
        result = book.check(name)
        assert result.state == "pass", result
        return " ".join(result.notes)


def works_alone() -> None:
    """The kept function, loaded by path, equals the library's."""
    mine = load_mine("rms_norm")
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(mine(x, torch.ones(8), 1e-5), rms_norm(x, torch.ones(8), 1e-5))


CELLS = {
    "plain": (PLAIN,),
    "helper in another cell": (HELPER, USES_HELPER),
    "cells out of order": (USES_HELPER, HELPER),
    "helper of a helper, constants": (
        "AXIS: int = -1\nTWO = 1 + 1",
        "def mean_square(v):\n    return v.pow(TWO).mean(AXIS, keepdim=True)",
        "def root_of(v, e):\n    return torch.sqrt(mean_square(v) + e)",
        USES_HELPER,
    ),
    "aliased imports": (
        "import torch as t, math as m\nfrom torch import rsqrt as inverse, nn\n"
        "import torch.nn.functional as F\nfrom functools import reduce as fold",
        "def rms_norm(x, weight, eps):\n    w = F.dropout(nn.Identity()(x.float()), 0.0)\n"
        "    s = fold(lambda a, b: a + b, w.square().unbind(-1), t.zeros(()))\n"
        "    s = s / m.prod([x.shape[-1]])\n"
        "    return (w * inverse(s + eps)[..., None]).to(x.dtype) * weight",
    ),
    "decorator that wraps": (
        "import functools\ndef shout(f):\n    @functools.wraps(f)\n    def inner(*a):\n"
        "        return f(*a)\n    return inner",
        "@shout\n" + PLAIN,
    ),
    "decorator that does not say what it wraps": (
        "def shout(f):\n    def inner(*a):\n        return f(*a)\n    return inner",
        "@shout\n" + PLAIN.replace("eps):", "eps):  # mine"),
    ),
    "closure": (
        "def make(axis):\n    def inner(x, weight, eps):\n        wide = x.float()\n"
        "        root = torch.sqrt(wide.square().mean(axis, keepdim=True) + eps)\n"
        "        return (wide / root).to(x.dtype) * weight\n    return inner",
        "rms_norm = make(-1)",
    ),
    "partial": (
        "from functools import partial",
        "def general(axis, x, weight, eps):\n"
        + BODY.format(root="torch.sqrt(wide.square().mean(axis, keepdim=True) + eps)"),
        "rms_norm = partial(general, -1)",
    ),
    "lambda": (
        HELPER,
        "rms_norm = lambda x, w, e: (x.float() / root_of(x.float(), e)).to(x.dtype) * w",
    ),
    "another name": (PLAIN.replace("def rms_norm", "def my_norm"), "rms_norm = my_norm"),
    "recursion": (
        "def total(p):\n    return p[0] if len(p) == 1 else p[0] + total(p[1:])",
        "def rms_norm(x, weight, eps):\n"
        + BODY.format(
            root="torch.sqrt(total(wide.square().unbind(-1))[..., None] / x.shape[-1] + eps)"
        ),
    ),
    "a class": (
        "class Root:\n    axis = -1\n    def __init__(self, e):\n        self.e = e\n"
        "    def __call__(self, v):\n"
        "        return torch.sqrt(v.square().mean(self.axis, keepdim=True) + self.e)",
        "def rms_norm(x, weight, eps):\n" + BODY.format(root="Root(eps)(wide)"),
    ),
    "a class without methods, a dataclass, a base": (
        "from dataclasses import dataclass\nclass Axis:\n    last = -1\n\n"
        "@dataclass\nclass Settings(Axis):\n    keep: bool = True",
        "def rms_norm(x, weight, eps, settings=Settings()):\n"
        + BODY.format(
            root="torch.sqrt(wide.square().mean(Settings.last, keepdim=settings.keep) + eps)"
        ),
    ),
    "a cache, a dtype, a global": (
        "import functools\nWIDE = torch.float32\nSEEN = {}\ncount = 0",
        "@functools.cache\ndef power():\n    return 2",
        "def rms_norm(x, weight, eps):\n    global count\n    count += 1\n"
        "    SEEN[x.shape] = x\n    wide = x.to(WIDE)\n"
        "    root = torch.sqrt(wide.pow(power()).mean(-1, keepdim=True) + eps)\n"
        "    return (wide / root).to(x.dtype) * weight",
    ),
    "annotations and defaults": (
        "from __future__ import annotations\nfrom torch import Tensor as Vector\n"
        "EPS = float('inf')",
        "def rms_norm(x: Vector, weight: Vector, eps: float = EPS) -> Nowhere:\n"
        + PLAIN.split("\n", 1)[1],
    ),
    "defined twice, and a failing cell between": (
        HELPER.replace("+ e", "- e"),
        HELPER,
        "def broken(:",
        USES_HELPER.replace("root_of", "missing"),
        USES_HELPER,
    ),
    "several statements on one line": ("A = -1; B = True; C = [1, (2.5, None)]; " + "D = {'k': A}",
        "def rms_norm(x, weight, eps):\n    assert C[1][0] == 2.5 and D['k'] == A\n"
        + BODY.format(root="torch.sqrt(wide.square().mean(A, keepdim=B) + eps)")),
}  # fmt: skip


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS.keys())
def test_kept_with_what_it_reads(cells: tuple[str, ...]) -> None:
    assert kept_by(*cells) == "Kept in my_llama/rms_norm.py."
    works_alone()


def test_kernel_restarted(book: Notebook) -> None:
    kept_by(HELPER, USES_HELPER)
    assert kept_by(HELPER, USES_HELPER) == "Kept in my_llama/rms_norm.py."
    assert not (my_llama.folder() / "older").exists(), "the same text is not written again"
    assert kept_by(PLAIN) == "Kept in my_llama/rms_norm.py."
    older = (my_llama.folder() / "older" / "rms_norm.py").read_text(encoding="utf-8")
    assert "root_of" in older


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (
            ("ONE = torch.ones(1)", PLAIN.replace("wide = x.float()", "wide = x.float() * ONE")),
            "it reads `ONE`, a tensor from another cell",
        ),
        (
            ("class Box:\n    one = 1\nbox = Box()",
             PLAIN.replace("x.float()", "x.float() * box.one")),
            "it reads `box`, a Box from another cell",
        ),
        (
            ("layer = torch.nn.Identity()", PLAIN.replace("x.float()", "layer(x.float())")),
            "it reads `layer`, an Identity from another cell",
        ),
        (
            (HELPER, "exec(\"def rms_norm(x, weight, eps):\\n    w = x.float()\\n"
             "    return (w / root_of(w, eps)).to(x.dtype) * weight\")"),
            "the source of `rms_norm` is in no cell",
        ),
        (
            ("def make(one):\n    def inner(x, weight, eps):\n        w = x.float() * one\n"
             "        root = torch.sqrt(w.square().mean(-1, keepdim=True) + eps)\n"
             "        return (w / root).to(x.dtype) * weight\n    return inner",
             "one = torch.ones(())", "rms_norm = make(one)"),
            "it reads `one`, a tensor from another cell",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_passes_and_says_why(cells: tuple[str, ...], reason: str) -> None:
    note = kept_by(*cells)
    assert note.startswith("Not kept in my_llama: ") and reason in note
    assert not (my_llama.folder() / "rms_norm.py").exists()


def test_a_class_and_the_parts_of_a_set_are_kept() -> None:
    mean = checks.find("running_mean").solution
    assert kept_by(mean, name="running_mean") == "Kept in my_llama/RunningMean.py."
    both = checks.find("softmax").solution
    kept_by(both, name="softmax")
    assert my_llama.kept() == ["RunningMean", "log_sum_exp", "softmax"]
    x = torch.tensor([0.0, 0.0])
    assert load_mine("softmax")(x).tolist() == [0.5, 0.5]
    running = load_mine("RunningMean")(1)
    running.update(torch.tensor([3.0]))
    assert running.value().tolist() == [3.0]


def test_a_part_that_leans_on_a_wrong_part_is_not_kept() -> None:
    both = checks.find("softmax").solution.replace("+ largest", "- largest")
    with notebook() as book:
        book.run(both)
        result = book.check("softmax")
    assert result.parts == {"log_sum_exp": "wrong", "softmax": "pass"}
    assert "with what it reads, it does not pass" in " ".join(result.notes)
    assert my_llama.kept() == []


def test_a_worse_answer_never_replaces_a_better() -> None:
    kept_by(PLAIN)
    before = (my_llama.folder() / "rms_norm.py").read_bytes()
    with notebook() as book:
        book.run(PLAIN.replace("+ eps", ""))
        assert book.check("rms_norm").state == "wrong"
    assert (my_llama.folder() / "rms_norm.py").read_bytes() == before
    works_alone()


def test_one_broken_file_blocks_no_other() -> None:
    assert my_components().components == Components(), "nothing is kept yet"
    kept_by(PLAIN)
    folder = my_llama.folder()
    (folder / "swiglu.py").write_text("def swiglu(:", encoding="utf-8")
    (folder / "attention.py").write_text("raise SystemExit(1)", encoding="utf-8")
    (folder / "repeat_kv.py").write_text("x = 1", encoding="utf-8")
    (folder / "causal_mask.py").write_bytes(b"\xff\xfe")
    mine = my_components()
    assert mine.names == ("rms_norm",)
    assert mine.components.foreign() == ("rms_norm",)
    assert len(mine.problems) == 4
    assert all(("\n" not in p and "is made anew" in p) or "is new" in p for p in mine.problems)
    with pytest.raises(CourseError, match=r"swiglu\.py does not load"):
        load_mine("swiglu")
    with pytest.raises(CourseError, match="There is no"):
        load_mine("rope_angles")


def test_a_broken_file_is_replaced_by_a_pass_and_kept_beside() -> None:
    folder = my_llama.folder()
    folder.mkdir(parents=True)
    (folder / "rms_norm.py").write_text("def rms_norm(:", encoding="utf-8")
    assert kept_by(PLAIN) == "Kept in my_llama/rms_norm.py."
    works_alone()
    assert (folder / "older" / "rms_norm.py").read_text(encoding="utf-8") == "def rms_norm(:"


def test_a_folder_that_cannot_be_written_is_one_sentence(home: Path) -> None:
    home.write_text("a file stands where the folder should be", encoding="utf-8")
    with notebook() as book:
        book.run(PLAIN)
        result = book.check("rms_norm")
    assert result.state == "pass"
    assert result.notes[0].startswith("Not kept in my_llama: the file rms_norm.py could not be")
    assert "could not be written" in result.notes[1]
    assert str(home) not in repr(result), "a card does not depend on where the folder is"


def test_a_deleted_folder_is_made_again(home: Path) -> None:
    import shutil

    with notebook() as book:
        book.run(PLAIN)
        book.check("rms_norm")
        shutil.rmtree(home)
        assert book.check("rms_norm").notes == ("Kept in my_llama/rms_norm.py.",)
    works_alone()


def test_a_script_is_kept_as_well(tmp_path: Path) -> None:
    import runpy

    script = tmp_path / "answer.py"
    script.write_text(
        "import torch\nfrom llama_course.workbook.check import check\n"
        + HELPER + USES_HELPER + "result = check('rms_norm')\n",
        encoding="utf-8",
    )  # fmt: skip
    result = runpy.run_path(str(script), run_name="__main__")["result"]
    assert result.notes == ("Kept in my_llama/rms_norm.py.",)
    works_alone()


def _check_often(home: str, source: str) -> None:
    os.environ["LLAMA_COURSE_HOME"] = home
    namespace: dict = {"torch": torch, "In": ["", source], "check": check}
    import linecache

    linecache.cache["<cell>"] = (len(source), None, source.splitlines(True), "<cell>")
    exec(compile(source, "<cell>", "exec"), namespace)
    for _ in range(5):
        result = eval("check('rms_norm')", namespace)
        assert result.notes == ("Kept in my_llama/rms_norm.py.",), result


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork to start the two from")
def test_two_notebooks_checking_at_once(home: Path) -> None:
    context = multiprocessing.get_context("fork")
    sources = [PLAIN, HELPER + USES_HELPER]
    processes = [context.Process(target=_check_often, args=(str(home), s)) for s in sources]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0, 0]
    works_alone()
    assert not list(my_llama.folder().glob(".*")), "nothing half-written is left"
