"""Mathematical symbols: which a text uses, and which the lessons' notation tables define."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from llama_course.workbook.authoring.lesson import Lesson, SourceFile, order
from llama_course.workbook.authoring.problem import Problem, at

GREEK = set(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
        "ell",
    ]
)
# Words and number sets are free; so is e, the base of all logarithms and exponentials here.
FREE = re.compile(r"\\(text|mathrm|operatorname|mathbb|textrm|begin|end|tag)\*?\s*\{[^{}]*\}")
MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$])\$(?!\s)([^$\n]+?)(?<![\s\\])\$", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def formulas(text: str) -> Iterator[str]:
    """The mathematics in a Markdown text."""
    for match in MATH.finditer(CODE.sub(" ", text)):
        yield match[1] or match[2]


def symbols(formula: str) -> set[str]:
    """The letters that a formula uses: `\\theta`, `x`, `i`; operators and words are none."""
    formula = FREE.sub(" ", formula)
    found = {f"\\{name}" for name in re.findall(r"\\([a-zA-Z]+)", formula) if name in GREEK}
    rest = re.sub(r"\\[a-zA-Z]+", " ", formula)
    return found | (set(re.findall(r"[a-zA-Z]", rest)) - {"e"})


def rows(lesson: Lesson) -> list[dict[str, Any]]:
    """The notation table of a lesson's front matter."""
    found = lesson.lesson.front.get("notation") or []
    return [row for row in found if isinstance(row, dict)]


def check_symbols(lesson: Lesson, everyone: Iterable[Lesson]) -> Iterator[Problem]:
    """Symbols used before they are defined, and rows that disagree with an earlier lesson's."""
    source: SourceFile = lesson.lesson
    before = [one for one in everyone if order(one.number) < order(lesson.number)]
    earlier = {str(row.get("symbol")): (one, row) for one in before for row in rows(one)}
    known: set[str] = set()
    for symbol in earlier:
        known |= symbols(symbol)
    for row in rows(lesson):
        symbol = str(row.get("symbol", ""))
        known |= symbols(symbol)
        missing = [key for key in ("symbol", "meaning", "shape") if not row.get(key)]
        if missing:
            yield Problem(source.path, 1, f"notation row {symbol!r} lacks {', '.join(missing)}.")
        if symbol in earlier and earlier[symbol][1] != row:
            one = earlier[symbol][0]
            yield Problem(
                source.path,
                1,
                f"notation row {symbol!r} differs from that of lesson {one.number}: use the same "
                "row (or leave it out), or another symbol.",
            )
    for cell in source.cells:
        if cell.kind != "markdown":
            continue
        used = {symbol for formula in formulas(cell.source) for symbol in symbols(formula)}
        for symbol in sorted(used - known):
            yield at(
                source.path,
                cell,
                f"the symbol {symbol} is in no notation table: add a row to this lesson's front "
                "matter, or write words in \\text{}.",
            )
