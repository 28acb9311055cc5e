"""The rules for instructor.md, and its parts as data."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llama_course.workbook.authoring.lesson import Lesson
from llama_course.workbook.authoring.problem import Problem

SECTIONS = ("Minutes", "Ask the class", "Misconceptions", "Speaker notes")


def sections(text: str, level: str = "##") -> dict[str, str]:
    """Each heading of a level, and the text below it."""
    found: dict[str, str] = {}
    name = ""
    for line in text.split("\n"):
        if line.startswith(f"{level} "):
            name = line[len(level) + 1 :].strip()
            found[name] = ""
        elif name:
            found[name] += line + "\n"
    return {key: value.strip() for key, value in found.items()}


def speaker_notes(text: str) -> dict[str, str]:
    """The notes of each part of the lesson."""
    return sections(sections(text).get("Speaker notes", ""), "###")


def table(text: str) -> list[list[str]]:
    """The rows of the first Markdown table, without its head."""
    rows = [line.strip() for line in text.split("\n") if line.strip().startswith("|")]
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    return cells[2:]


def check_instructor(lesson: Lesson) -> Iterator[Problem]:
    """The four sections, and what each holds."""
    path = lesson.folder / "instructor.md"
    text = lesson.text("instructor.md")
    found = sections(text)
    names = [name for name in found if name in SECTIONS]
    for name in SECTIONS:
        if name not in found:
            yield Problem(path, 0, f'the section "## {name}" is missing.')
    if names != [name for name in SECTIONS if name in found]:
        yield Problem(path, 0, f"the sections come in this order: {', '.join(SECTIONS)}.")
    parts = [str(c.options["part"]) for c in lesson.lesson.cells if "part" in c.options]
    if "Minutes" in found:
        yield from (Problem(path, 0, f"Minutes: {words}") for words in _minutes(found, parts))
    if "Ask the class" in found:
        asked = re.findall(r"^\s*(?:[-*]|\d+\.) .*", found["Ask the class"], re.MULTILINE)
        if sum("?" in item for item in asked) < 3:
            yield Problem(path, 0, "Ask the class: list three questions or more.")
    if "Misconceptions" in found:
        rows = table(found["Misconceptions"])
        if len(rows) < 3:
            yield Problem(path, 0, "Misconceptions: a table of three rows or more is needed.")
        if any(len(row) != 3 or not all(row) for row in rows):
            yield Problem(path, 0, "Misconceptions: each row says what, how it looks, what to say.")
    if "Speaker notes" in found:
        notes = speaker_notes(text)
        for part in dict.fromkeys(parts):
            if not notes.get(part):
                yield Problem(path, 0, f'Speaker notes: "### {part}" is missing or empty.')


def _minutes(found: dict[str, str], parts: list[str]) -> Iterator[str]:
    rows = {row[0]: row[1] for row in table(found["Minutes"]) if len(row) >= 2}
    numbers = {}
    for name, words in rows.items():
        match = re.fullmatch(r"(\d+)", words)
        if match:
            numbers[name] = int(match[1])
        else:
            yield f"the row {name!r} has {words!r}, not a whole number."
    for part in dict.fromkeys([*parts, "exercise"]):
        if part not in rows:
            yield f"a row for {part!r} is missing."
    total = numbers.pop("total", None)
    if total is None:
        yield "the row 'total' is missing."
    elif total != sum(numbers.values()):
        yield f"the total is {total}, and the rows add up to {sum(numbers.values())}."
