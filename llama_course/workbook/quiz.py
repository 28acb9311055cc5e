"""`quiz("05")` asks; `quiz("05", "a c b d a b")` checks, and explains each wrong answer."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_course.errors import CourseError, nearest

FOLDER = Path(__file__).with_name("quizzes")
LETTERS = "abcd"


def quiz(lesson: str, answers: str | None = None) -> Quiz:
    """The questions of a lesson; with `answers` (a letter each) also what was right and why not.

    `answers` may have spaces or commas: "a c b d a b", "acbdab" and "a, c, b, d, a, b" are the
    same; a "-" leaves a question out. The last line of a cell shows the result. In a script,
    `result.right` is the number of right answers and `str(result)` the text.

    Raises `CourseError` for an unknown lesson, another number of letters, or another letter.
    """
    data = load(lesson)
    asked = Quiz(data["lesson"], data["title"], data["questions"])
    if answers is not None:
        asked.given = letters(answers, len(asked.questions))
    return asked


def load(lesson: str) -> dict[str, Any]:
    """The quiz of a lesson as data."""
    key = str(lesson).strip().upper()
    key = key.zfill(2) if key.isdigit() else key
    path = FOLDER / f"{key}.json"
    if not re.fullmatch(r"[0-9A-Z]{2}", key) or not path.is_file():
        known = sorted(found.stem for found in FOLDER.glob("*.json"))
        words = nearest(key, known) if known else "this release has no quiz."
        raise CourseError(f"There is no quiz {lesson!r}; {words}")
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def letters(answers: str, count: int) -> str:
    """The answers as one letter each, "-" where a question was left out."""
    given = re.sub(r"[\s,;]", "", str(answers)).lower()
    wrong = sorted(set(given) - set(LETTERS + "-"))
    if wrong:
        raise CourseError(f"An answer is one of a, b, c, d (or - for none), not {wrong[0]!r}.")
    if len(given) != count:
        raise CourseError(
            f'The quiz has {count} questions and you gave {len(given)} letters: write "a c b ...", '
            "one letter for each question, - where you leave one out."
        )
    return given


@dataclass
class Quiz:
    """A quiz, and the letters given; shows itself as a card, and as text in `str()`."""

    lesson: str
    title: str
    questions: list[dict[str, Any]]
    given: str = ""

    @property
    def right(self) -> int:
        """The number of right answers."""
        asked = zip(self.given, self.questions, strict=False)
        return sum(letter == question["answer"] for letter, question in asked)

    @property
    def missed(self) -> Counter[str]:
        """How many questions about each lesson were not answered rightly."""
        asked = zip(self.given, self.questions, strict=False)
        return Counter(q["lesson"] for letter, q in asked if letter != q["answer"])

    def head(self) -> str:
        """The first line."""
        if not self.given:
            return f"Quiz {self.lesson} · {self.title}: {len(self.questions)} questions"
        return f"Quiz {self.lesson} · {self.title}: {self.right} of {len(self.questions)} right"

    def foot(self) -> str:
        """What to do next."""
        if not self.given:
            pattern = " ".join("abcd"[n % 4] for n in range(len(self.questions)))
            return f'Answer with one letter each: quiz("{self.lesson}", "{pattern}")'
        again = [f"{lesson} ({count})" for lesson, count in sorted(self.missed.items())]
        if not again:
            return "All right. Go on."
        return f"Lessons to look at again, with the number of questions missed: {', '.join(again)}."

    def verdict(self, number: int) -> tuple[str, str]:
        """Of one question, counted from 0: the state in a word, and the explanation."""
        question = self.questions[number]
        letter, answer = self.given[number], question["answer"]
        if letter == answer:
            return "right", why(question, answer)
        if letter == "-":
            return "left out", "Read it again, then choose."
        return f"not {letter}", why(question, letter)

    def __str__(self) -> str:
        lines = [self.head()]
        for number, question in enumerate(self.questions):
            lines += ["", f"{number + 1}. {question['text']}"]
            lines += [
                f"   {letter}) {choice['text']}"
                for letter, choice in zip(LETTERS, question["choices"], strict=False)
            ]
            if self.given:
                state, explanation = self.verdict(number)
                lines.append(f"   -> {state}: {explanation}")
        return "\n".join([*lines, "", self.foot()])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html()}

    def html(self) -> str:
        """The card: colours are the page's own, so that it reads alike in light and dark."""
        items = []
        for number, question in enumerate(self.questions):
            choices = "".join(
                f"<li>{inline(choice['text'])}</li>" for choice in question["choices"]
            )
            items.append(
                f"<li><div>{inline(question['text'])}</div>"
                f'<ol type="a">{choices}</ol>{self._verdict_html(number)}</li>'
            )
        label = html.escape(self.head(), quote=True)
        return (
            f'<div role="group" aria-label="{label}" style="border:1px solid currentColor;'
            'border-left-width:6px;border-radius:4px;padding:0.6em 1em;max-width:52em">'
            f"<p><strong>{html.escape(self.head())}</strong></p>"
            f"<ol>{''.join(items)}</ol><p>{inline(self.foot())}</p></div>"
        )

    def _verdict_html(self, number: int) -> str:
        if not self.given:
            return ""
        state, explanation = self.verdict(number)
        mark = "✓" if state == "right" else "✗"
        return (
            f'<p><span aria-hidden="true">{mark} </span><strong>{html.escape(state)}</strong>: '
            f"{inline(explanation)}</p>"
        )


def why(question: dict[str, Any], letter: str) -> str:
    """The explanation of a choice."""
    return str(question["choices"][LETTERS.index(letter)]["why"])


def inline(text: str) -> str:
    """A line or two of Markdown as HTML: `code`, **bold**, *emphasis*, lines; $formulas$ stay."""
    parts = re.split(r"(`[^`]+`|\$[^$]+\$)", html.escape(text, quote=False))
    return "".join(map(_inline_part, parts)).replace("\n\n", "<br><br>").replace("\n", " ")


def _inline_part(part: str) -> str:
    """Code, a formula, or the text between them, whose stars are Markdown's."""
    if part.startswith("`") and len(part) > 1:
        return f"<code>{part[1:-1]}</code>"
    if part.startswith("$"):
        return part
    part = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", part)
    return re.sub(r"(?<![\w*])\*(\w(?:[^*]*\w)?)\*(?![\w*])", r"<em>\1</em>", part)
