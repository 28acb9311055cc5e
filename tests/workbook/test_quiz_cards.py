"""The quiz: asks in the author's order, checks letters, explains each wrong answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_repo import make

from llama_course.errors import CourseError
from llama_course.workbook import quiz as quizzes
from llama_course.workbook.authoring.lesson import lessons
from llama_course.workbook.authoring.quiz_source import questions
from llama_course.workbook.authoring.sources import quiz_data
from llama_course.workbook.quiz import quiz

RIGHT = "a b c b a d"


@pytest.fixture(autouse=True)
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample's quiz in place of the package's."""
    lesson = lessons(make(tmp_path, package=False))[1]
    folder = tmp_path / "quizzes"
    folder.mkdir()
    (folder / "01.json").write_text(quiz_data(lesson), encoding="utf-8")
    monkeypatch.setattr(quizzes, "FOLDER", folder)


def test_asking_shows_questions_and_no_answer() -> None:
    text = str(quiz("01"))
    assert text.startswith("Quiz 01 · Halves: 6 questions\n\n1. What is `7 / 2`?\n   a) 3.5")
    assert text.count("   d) ") == 6 and 'quiz("01", "' in text
    assert "The slash keeps the fraction" not in text + quiz("01").html()


def test_all_right() -> None:
    result = quiz("01", RIGHT)
    assert result.right == 6 and not result.missed
    assert str(result).endswith("All right. Go on.") and "6 of 6 right" in result.head()


def test_a_wrong_answer_is_explained_and_the_right_one_not_given_away() -> None:
    result = quiz("1", "b,b,c,b,a,-")
    text = str(result)
    assert result.right == 4 and dict(result.missed) == {"01": 1, "00": 1}
    assert "-> not b: That is `7 // 2`." in text and "-> left out" in text
    assert "The slash keeps the fraction" not in text
    assert text.endswith("missed: 00 (1), 01 (1).")


@pytest.mark.parametrize("answers", ["abcbad", "A B C B A D", "a, b, c, b, a, d"])
def test_ways_to_write_the_letters(answers: str) -> None:
    assert quiz("01", answers).right == 6


@pytest.mark.parametrize(
    ("lesson", "answers", "says"),
    [
        ("01", "a b", "6 questions and you gave 2"),
        ("01", "a b c e a d", "not 'e'"),
        ("77", None, "There is no quiz '77'"),
        ("../01", None, "There is no quiz"),
    ],
)
def test_one_sentence_for_a_slip(lesson: str, answers: str | None, says: str) -> None:
    with pytest.raises(CourseError, match=says):
        quiz(lesson, answers)


def test_the_card_is_the_same_each_time_and_has_no_colour_of_its_own() -> None:
    one, two = quiz("01", "b" * 6)._repr_mimebundle_(), quiz("01", "b" * 6)._repr_mimebundle_()
    assert one == two and set(one) == {"text/plain", "text/html"}
    assert "#" not in one["text/html"] and "color:" not in one["text/html"].replace(
        "currentColor", ""
    )
    assert 'aria-label="Quiz 01' in one["text/html"]  # said by a screen reader
    for state in ("right", "not b"):
        assert f"<strong>{state}</strong>" in one["text/html"]  # a word, not a sign alone


def test_text_is_escaped() -> None:
    assert quizzes.inline("a < b & `x<y` **c** $a<b$") == (
        "a &lt; b &amp; <code>x&lt;y</code> <strong>c</strong> $a&lt;b$"
    )
    assert quizzes.inline("*ox* 2 * 3 * 4 `x*y*z` $a*b*c$ **d**") == (
        "<em>ox</em> 2 * 3 * 4 <code>x*y*z</code> $a*b*c$ <strong>d</strong>"
    )


def test_the_source_is_read_in_full() -> None:
    head = "# Quiz\n\n### one (01)\n\nWhat\nis\n\nthis?\n\n"
    text = head + "- [x] it\n  mistake: a/b\n  Yes.\n  It is.\n"
    question = questions(text)[0]
    assert question.text == "What\nis\n\nthis?"
    assert (question.choices[0].mistake, question.choices[0].why) == ("a/b", "Yes. It is.")
    with pytest.raises(CourseError, match=r"quiz\.md:12"):
        questions(text.replace("  Yes.", "Yes."))


def test_the_answers_in_the_package_are_those_of_the_source() -> None:
    data = json.loads((quizzes.FOLDER / "01.json").read_text(encoding="utf-8"))
    assert " ".join(question["answer"] for question in data["questions"]) == RIGHT
