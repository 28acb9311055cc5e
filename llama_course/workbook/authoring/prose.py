"""Prose, as far as a tool can tell: sentence length, who speaks, how long it takes to read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llama_course.workbook.authoring.lesson import SourceCell, SourceFile
from llama_course.workbook.authoring.problem import Problem, at
from llama_course.workbook.authoring.symbols import CODE, MATH

LONGEST, MEAN = 45, 25  # words a sentence
WORDS_PER_MINUTE = 180  # read with care
MINUTES_PER_CODE_CELL, MINUTES_PER_FIGURE = 0.5, 1.0
FIRST_PERSON = re.compile(r"\b(I|I'm|I'll|[Ww]e|[Ww]e'll|[Ww]e're|[Oo]ur|[Uu]s|[Ll]et's)\b")
FUTURE = re.compile(r"\b([Yy]ou will|[Yy]ou'll)\b")
THIRD = re.compile(r"\bthe (reader|student|learner)\b", re.IGNORECASE)
COLUMNS = 100


def plain(source: str) -> str:
    """A Markdown text's sentences: without code, formulas, headings, tables, quotes and links."""
    text = MATH.sub(" x ", CODE.sub(" x ", source))
    text = re.sub(r"\]\([^)]*\)", "]", text)
    lines = [line for line in text.split("\n") if not line.lstrip().startswith(("#", "|", ">"))]
    # A list item is a sentence of its own, whether or not it ends in a full stop.
    lines = [re.sub(r"^\s*([-*]|\d+\.)\s+", ". ", line) for line in lines]
    return re.sub(r"[*_\[\]]", "", "\n".join(lines))


def sentences(source: str) -> list[str]:
    """The sentences of a Markdown text."""
    text = re.sub(r"\n\s*\n", ". ", plain(source))
    text = re.sub(r"\b(e\.g|i\.e|cf|vs|Fig|Eq|et al)\.", "abbr", text)
    parts = re.split(r"[.!?:;]+[\"')]*(?:\s+|$)", " ".join(text.split()))
    return [part for part in parts if re.search(r"[A-Za-z]", part)]


def count(sentence: str) -> int:
    """Words."""
    return len(re.findall(r"[\w'-]*\w", sentence))


def minutes(source: SourceFile) -> int:
    """An estimate of the minutes that reading takes."""
    words = sum(count(plain(cell.source)) for cell in source.cells if cell.kind == "markdown")
    code = source.code()
    figures = sum("show(" in cell.source for cell in code)
    total = words / WORDS_PER_MINUTE + MINUTES_PER_CODE_CELL * len(code)
    return max(1, round(total + MINUTES_PER_FIGURE * figures))


def check_prose(source: SourceFile) -> Iterator[Problem]:
    """Sentences too long, and a person other than the second."""
    lengths = []
    for cell in source.cells:
        if cell.kind != "markdown":
            continue
        for sentence in sentences(cell.source):
            length = count(sentence)
            lengths.append(length)
            if length > LONGEST:
                start = " ".join(sentence.split()[:6])
                yield at(
                    source.path,
                    cell,
                    f"the sentence '{start} ...' has {length} words, at most {LONGEST}: split it.",
                )
        yield from _person(source, cell)
    if lengths and sum(lengths) / len(lengths) > MEAN:
        mean = sum(lengths) / len(lengths)
        yield Problem(
            source.path,
            0,
            f"sentences have {mean:.0f} words on average, at most {MEAN}: split some.",
        )


def _person(source: SourceFile, cell: SourceCell) -> Iterator[Problem]:
    text = plain(cell.source)
    for pattern, advice in (
        (FIRST_PERSON, "speak to the reader as 'you'"),
        (THIRD, "speak to the reader as 'you'"),
        (FUTURE, "use the present tense"),
    ):
        if match := pattern.search(text):
            yield at(source.path, cell, f"'{match[0]}': {advice}.")


def check_columns(source: SourceFile) -> Iterator[Problem]:
    """Lines longer than 100 columns; tables, links and the front matter may be."""
    lines = source.text.split("\n")
    end = lines.index("---", 1) if "---" in lines[1:] else 0
    for number, line in enumerate(lines, 1):
        long = len(line) > COLUMNS and number > end + 1
        if long and not line.lstrip().startswith("|") and "](" not in line and "://" not in line:
            yield Problem(
                source.path,
                number,
                f"the line has {len(line)} columns, at most {COLUMNS}: wrap it.",
            )
