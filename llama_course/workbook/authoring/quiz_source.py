"""quiz.md -> the questions as data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from llama_course.errors import CourseError

QUESTION = re.compile(r"### (?P<name>[a-z0-9-]+) \((?P<lesson>[0-9A-Z][0-9])\)\s*")
CHOICE = re.compile(r"- \[(?P<mark>[ xX])\] (?P<text>.*\S)\s*")
LETTERS = "abcd"


@dataclass
class Choice:
    """One of four answers, why it is right or wrong, and the mistake it was taken from."""

    text: str
    right: bool
    why: str = ""
    mistake: str = ""
    line: int = 0


@dataclass
class Question:
    """A question about the lesson numbered `lesson`."""

    name: str
    lesson: str
    line: int
    text: str = ""
    choices: list[Choice] = field(default_factory=list)

    @property
    def answer(self) -> str:
        """The letter of the right choice; "" where there is not exactly one."""
        right = [letter for letter, c in zip(LETTERS, self.choices, strict=False) if c.right]
        return right[0] if len(right) == 1 else ""


def questions(text: str, where: str = "quiz.md") -> list[Question]:
    """Read the questions; raises `CourseError` for a line that has no place in the format."""
    found: list[Question] = []
    for number, line in enumerate(text.split("\n"), 1):
        if match := QUESTION.fullmatch(line):
            found.append(Question(match["name"], match["lesson"], number))
            continue
        if line.startswith("#"):
            if line.startswith("###"):
                raise CourseError(
                    f"{where}:{number}: a question begins with '### name (NN)', this line is "
                    f"{line!r}."
                )
            continue
        if not line.strip() or not found:
            if found and found[-1].text and not found[-1].choices:
                found[-1].text += "\n"
            continue
        question = found[-1]
        if match := CHOICE.fullmatch(line):
            right = match["mark"] != " "
            question.choices.append(Choice(match["text"], right, line=number))
        elif question.choices and line.startswith("  "):
            _explain(question.choices[-1], line.strip())
        elif not question.choices:
            question.text += ("\n" if question.text else "") + line.rstrip()
        else:
            raise CourseError(
                f"{where}:{number}: after a choice comes '- [ ] ...', '- [x] ...' or an indented "
                f"explanation, this line is {line!r}."
            )
    for question in found:
        question.text = question.text.strip()
    return found


def _explain(choice: Choice, line: str) -> None:
    if line.startswith("mistake:") and not choice.why:
        choice.mistake = line.removeprefix("mistake:").strip()
    else:
        choice.why = f"{choice.why} {line}".strip()


def as_data(lesson: str, title: str, found: list[Question]) -> dict[str, Any]:
    """What the package keeps of a quiz: plain data, for `llama_course.workbook.quiz`."""
    return {
        "lesson": lesson,
        "title": title,
        "questions": [
            {
                "name": question.name,
                "lesson": question.lesson,
                "text": question.text,
                "answer": question.answer,
                "choices": [{"text": c.text, "why": c.why} for c in question.choices],
            }
            for question in found
        ],
    }
