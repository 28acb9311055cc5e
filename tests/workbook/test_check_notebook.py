"""check() where learners use it: finding the answer, the card, stale cells, hints, progress."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from notebook_shell import Notebook, notebook

from llama_course import checks
from llama_course.workbook import hint as hints
from llama_course.workbook import progress
from llama_course.workbook.check import check
from llama_course.workbook.hint import hint
from llama_course.workbook.result import CheckFailed

RIGHT = """
def rms_norm(x, weight, eps):
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight
"""
NO_EPSILON = RIGHT.replace(" + eps", "")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLAMA_COURSE_HOME", str(tmp_path / "home"))
    hints._given.clear()
    hints._last.clear()
    return tmp_path / "home"


@pytest.fixture
def book() -> Iterator[Notebook]:
    with notebook() as found:
        yield found


def test_the_answer_is_found_by_name_or_given(book: Notebook) -> None:
    assert book.check("rms_norm").state == "not attempted"
    book.run(RIGHT)
    result = book.check("rms_norm")
    assert (result.state, result.mistake, result.parts) == ("pass", None, {"rms_norm": "pass"})
    book.run(NO_EPSILON.replace("def rms_norm", "def mine"))
    given = book.run("check('rms_norm', mine)").result
    assert (given.state, given.mistake) == ("wrong", "missing epsilon")
    assert book.check("rms_norm").state == "pass"


def test_the_answer_is_found_without_ipython() -> None:
    def rms_norm(x, weight, eps):  # type: ignore[no-untyped-def]
        return x

    assert check("rms_norm").state == "wrong"
    assert check("rms_norm", lambda x, w, e: None).verdict.symptom == "none"


def test_sets_can_be_given_as_a_dict_or_one_by_one() -> None:
    solution = checks.find("softmax").load(checks.find("softmax").solution, module="answer")
    assert check("softmax", solution).state == "pass"
    one = check("log_sum_exp", solution["log_sum_exp"])
    assert one.name == "softmax"
    assert one.parts == {"log_sum_exp": "pass", "softmax": "not attempted"}
    assert one.state == "not attempted"


def test_nothing_is_raised_unless_strict(book: Notebook) -> None:
    book.run(
        "class Odd:\n    def __getattr__(self, name):\n        raise RuntimeError(name)\n"
        "rms_norm = Odd()"
    )
    assert book.check("rms_norm").state in ("wrong", "crashed", "unknown")
    assert book.check("no such thing").state == "unknown"
    book.run(NO_EPSILON)
    done = book.run("check('rms_norm', strict=True)")
    assert isinstance(done.error_in_exec, CheckFailed)
    assert "missing epsilon" in str(done.error_in_exec)
    book.run(RIGHT)
    assert book.run("check('rms_norm', strict=True)").success


def test_starter_cell_is_not_attempted(book: Notebook) -> None:
    book.run(checks.find("rms_norm").starter)
    assert book.check("rms_norm").state == "not attempted"
    book.run(
        "def rms_norm(x, weight: 'anything', eps):\n    '''Other words.'''\n    # later\n    pass"
    )
    assert book.check("rms_norm").state == "wrong", "an empty body is an attempt that returns None"


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        (NO_EPSILON.replace("wide = x", "wide == = x"), "SyntaxError"),
        ("undefined_name\n" + NO_EPSILON, "NameError"),
    ],
)
def test_an_older_definition_that_still_stands_is_seen(
    book: Notebook, cell: str, error: str
) -> None:
    book.run(RIGHT)
    book.run(cell)
    result = book.check("rms_norm")
    assert result.state == "stale" and error in result.message
    book.run(RIGHT.replace("square()", "pow(2)"))
    assert book.check("rms_norm").state == "pass"


def test_what_is_not_stale_is_not_called_so(book: Notebook) -> None:
    book.run(RIGHT + "\n1 / 0")  # the cell fails after the definition: it is the new one
    assert book.check("rms_norm").state == "pass"
    book.run("text = '''\ndef rms_norm(x, weight, eps):\n    pass\n'''")
    assert book.check("rms_norm").state == "pass"
    book.run("#def rms_norm(\nundefined")
    assert book.check("rms_norm").state == "pass"


def test_the_card_says_the_same_in_every_form(book: Notebook) -> None:
    book.run(NO_EPSILON.replace("    wide", "    print('<b>loud</b>')\n    wide", 1))
    result = book.check("rms_norm")
    text, html, markdown = repr(result), result._repr_html_(), result._repr_markdown_()
    plain = re.sub(r"<[^>]+>", "", html).replace("&#x27;", "'")
    for said in (
        "✗ rms_norm: not right yet",
        "The mistake: missing epsilon.",
        "By hand: epsilon counts inside the root",
        "largest error",
        "(4,)",
        "float32",
        "What was tested",
        "loud",
    ):
        assert said in text and said in plain and said in markdown.replace("\\", ""), said
    assert "<b>" not in html, "what an answer prints is not markup"
    assert not re.search(r"color:(?!inherit)|background|#[0-9a-f]{3,6}\b", html)
    assert 'role="group"' in html and "<summary>" in html and 'scope="row"' in html


def test_the_card_is_the_same_every_time(book: Notebook) -> None:
    for answer in (
        RIGHT,
        NO_EPSILON,
        "def rms_norm(x, weight, eps):\n    raise ValueError(object())",
    ):
        book.run(answer)
        cards = {book.check("rms_norm")._repr_html_() for _ in range(3)}
        assert len(cards) == 1
        assert "0x7" not in cards.pop()


def test_hints_go_from_a_nudge_to_the_way_out(book: Notebook) -> None:
    exercise = checks.find("rms_norm")
    assert hint("rms_norm").text == exercise.hints.nudge
    assert hint("rms_norm").text == exercise.hints.outline
    book.run(NO_EPSILON)
    book.check("rms_norm")
    assert "a vector is zero or tiny" in hint("rms_norm").text
    assert "solutions/" in hint("rms_norm").text
    assert "solutions/" in hint("rms_norm").text
    assert "did you mean" in hint("rmsnorm").text
    book.check("rms_norm")
    assert "solutions/" in hint("rms_norm").text, "the same mistake: nothing new to say"
    book.run("def rms_norm(x, weight, eps):\n    return torch.tanh(x)")
    book.check("rms_norm")
    assert "Take the smallest input" in hint("rms_norm").text
    assert "solutions/" in hint("rms_norm").text


def test_the_third_hint_without_a_known_mistake(book: Notebook) -> None:
    hints._given["rms_norm"] = 2
    assert "check('rms_norm') first" in hint("rms_norm").text
    book.run("def rms_norm(x, weight, eps):\n    return torch.tanh(x)")
    book.check("rms_norm")
    hints._given["rms_norm"] = 2
    assert "Take the smallest input" in hint("rms_norm").text


def test_progress_is_kept_and_a_pass_stays_a_pass(book: Notebook, home: Path) -> None:
    assert "0 of" in progress.progress().sentence
    book.run(RIGHT)
    book.check("rms_norm")
    book.run(NO_EPSILON)
    book.check("rms_norm")
    assert progress.passed() == {"rms_norm": ["rms_norm"]}
    table = progress.progress()
    assert "✓ passed" in repr(table) and "✓ passed" in table._repr_html_()
    assert "✓ passed" in table._repr_markdown_()


def test_progress_of_a_set_counts_its_parts() -> None:
    solution = checks.find("softmax").load(checks.find("softmax").solution, module="answer")
    check("softmax", {"softmax": solution["softmax"]})
    row = next(r for r in progress.progress().rows if r.exercise == "softmax")
    assert row.words == "◐ 1 of 2 parts"
    check("softmax", {"log_sum_exp": solution["log_sum_exp"]})
    row = next(r for r in progress.progress().rows if r.exercise == "softmax")
    assert row.words == "✓ passed"


def test_unreadable_progress_is_set_aside_and_not_lost(home: Path) -> None:
    home.mkdir()
    (home / "progress.json").write_text("{half", encoding="utf-8")
    progress.record("rms_norm", ["rms_norm"])
    assert progress.passed() == {"rms_norm": ["rms_norm"]}
    assert (home / "progress.unreadable.json").read_text(encoding="utf-8") == "{half"


def test_two_notebooks_lose_nothing_of_each_other(home: Path) -> None:
    import threading

    threads = [
        threading.Thread(target=progress.record, args=(f"exercise {i}", ["part"])) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(progress.passed()) == 8
    assert [p.name for p in home.iterdir()] == ["progress.json"]
