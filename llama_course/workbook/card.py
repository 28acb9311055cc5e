"""The card: one content, set as plain text, Markdown or HTML.

It says with words and signs what colour would say, takes the theme's own text colour, and folds
with <details>, which keyboards and screen readers know. It has no times and no addresses, so that
a stored card equals a live one.
"""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llama_course.checks.engine.judge import PASS, Verdict

if TYPE_CHECKING:
    from llama_course.workbook.result import Result

SIGNS = {
    "pass": "✓",
    "wrong": "✗",
    "crashed": "✗",
    "too slow": "✗",
    "borrowed": "✗",
    "not attempted": "○",
    "stale": "!",
    "unknown": "?",
}
WORDS = {
    "pass": "passes",
    "wrong": "not right yet",
    "crashed": "ended with an error",
    "too slow": "too slow, or endless",
    "borrowed": "borrowed",
    "not attempted": "not attempted yet",
    "stale": "an older definition",
    "unknown": "not checked",
}
WIDTH = 88  # of the plain text


@dataclass(frozen=True)
class Card:
    """What a card says, from top to bottom; empty parts are left out."""

    title: str
    sentences: tuple[str, ...]
    tested: str = ""  # what the failing case tests, in words
    promise: str = ""  # the sentence of the docstring behind it
    rows: tuple[tuple[str, str, str], ...] = ()  # what, expected, got
    printed: str = ""
    parts: tuple[tuple[str, str], ...] = ()  # name and state, where there are several
    hint: str = ""
    outcomes: tuple[tuple[str, str], ...] = ()  # "passed" and the case's title
    count: str = ""


def card_of(result: Result) -> Card:
    """The card of a result."""
    title = f"{SIGNS[result.state]} {result.name}: {WORDS[result.state]}"
    verdict = result.verdict
    sentences = [result.message]
    if result.mistake is not None:
        sentences.insert(0, f"The mistake: {result.mistake}.")
    parts = (
        ()
        if len(result.parts) < 2
        else tuple((name, f"{SIGNS[state]} {WORDS[state]}") for name, state in result.parts.items())
    )
    base = Card(title, (*sentences, *result.notes), parts=parts, hint=result.hint or "")
    return base if verdict is None else _with_verdict(base, verdict, result)


def _with_verdict(base: Card, verdict: Verdict, result: Result) -> Card:
    all_outcomes = [o for v in result.verdicts for o in v.outcomes]
    outcomes = all_outcomes if result.state == PASS else list(verdict.outcomes)
    words = {True: "✓ passed", False: "✗ failed", None: "· not run"}
    done = sum(ok is True for _, ok in outcomes)
    case, difference = verdict.case, verdict.difference
    return Card(
        base.title,
        base.sentences,
        tested=case.title if case is not None else "",
        promise=case.says if case is not None else "",
        rows=difference.rows if difference is not None else (),
        printed=verdict.printed.strip(),
        parts=base.parts,
        hint=base.hint,
        outcomes=tuple((words[ok], c.title) for c, ok in outcomes),
        count=f"What was tested: {done} of {len(outcomes)} passed" if outcomes else "",
    )


def as_text(card: Card) -> str:
    """For a terminal, and for a notebook's plain form."""
    lines = [card.title]
    for sentence in card.sentences:
        lines += textwrap.wrap(sentence, WIDTH)
    lines += [f"  {name}: {state}" for name, state in card.parts]
    if card.tested:
        lines += ["", *textwrap.wrap(f"Tested: {card.tested}.", WIDTH)]
        lines += textwrap.wrap(f"The docstring says: “{card.promise}”", WIDTH)
    if card.rows:
        widths = [max(len(r[i]) for r in (*card.rows, ("", "expected", "got"))) for i in range(3)]
        for row in (("", "expected", "got"), *card.rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  " + "  ".join(cells).rstrip())
    if card.printed:
        lines += ["", "It printed:", textwrap.indent(card.printed, "  ")]
    if card.hint:
        lines += ["", *textwrap.wrap(f"Hint: {card.hint}", WIDTH)]
    if card.outcomes:
        lines += ["", f"{card.count}."]
        lines += [f"  {word}: {title}" for word, title in card.outcomes]
    return "\n".join(lines)


def as_markdown(card: Card) -> str:
    """For whatever shows Markdown; what the learner's values contain is kept from being markup."""
    blocks = [f"**{card.title}**", *(_plain(s) for s in card.sentences)]
    blocks += ["\n".join(f"- `{name}`: {state}" for name, state in card.parts)]
    if card.tested:
        blocks += [f"Tested: {_plain(card.tested)}. The docstring says: “{_plain(card.promise)}”"]
    if card.rows:
        rows = [f"| {a} | {_cell(b)} | {_cell(c)} |" for a, b, c in card.rows]
        blocks += ["\n".join(["| | expected | got |", "|---|---|---|", *rows])]
    if card.printed:
        blocks += ["It printed:", textwrap.indent(card.printed, "    ")]
    if card.hint:
        blocks += [_folded("Hint", _plain(card.hint))]
    if card.outcomes:
        tested = "\n".join(f"- {word}: {_plain(title)}" for word, title in card.outcomes)
        blocks += [_folded(card.count, tested)]
    return "\n\n".join(block for block in blocks if block)


def as_html(card: Card) -> str:
    """For a notebook. Only the theme's own text colour is used, in borders and text."""
    out = [
        f'<div role="group" aria-label="{_html(card.title)}" style="border:1px solid currentColor;'
        'border-left-width:6px;border-radius:4px;padding:0.6em 1em;max-width:52em">',
        f"<p><strong>{_html(card.title)}</strong></p>",
        *(f"<p>{_html(s)}</p>" for s in card.sentences),
    ]
    if card.parts:
        items = (f"<li><code>{_html(n)}</code>: {_html(s)}</li>" for n, s in card.parts)
        out += ["<ul>", *items, "</ul>"]
    if card.tested:
        out.append(
            f"<p><strong>Tested:</strong> {_html(card.tested)}.<br>"
            f"<strong>The docstring says:</strong> “{_html(card.promise)}”</p>"
        )
    if card.rows:
        left = ' style="text-align:left"'
        out.append("<table><caption>The first place that differs</caption><thead><tr><td></td>")
        out.append('<th scope="col">expected</th><th scope="col">got</th></tr></thead><tbody>')
        for what, expected, got in card.rows:
            cells = f"<td{left}>{_html(expected)}</td><td{left}>{_html(got)}</td>"
            out.append(f'<tr><th scope="row"{left}>{_html(what)}</th>{cells}</tr>')
        out.append("</tbody></table>")
    if card.printed:
        pre = f"<pre>{_html(card.printed)}</pre>"
        out.append(f"<details><summary>What it printed</summary>{pre}</details>")
    if card.hint:
        out.append(f"<details><summary>Hint</summary><p>{_html(card.hint)}</p></details>")
    if card.outcomes:
        items = (f"<li>{_html(word)}: {_html(title)}</li>" for word, title in card.outcomes)
        out.append(
            f"<details><summary>{_html(card.count)}</summary><ul>{''.join(items)}</ul></details>"
        )
    return "\n".join([*out, "</div>"])


def _html(text: str) -> str:
    # Backquotes stand around code in the sentences.
    pieces = html.escape(text).split("`")
    if len(pieces) % 2 == 0:
        return html.escape(text)
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(pieces))


def _plain(text: str) -> str:
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        pieces = [text]
    done = []
    for i, piece in enumerate(pieces):
        if i % 2:
            done.append(f"`{piece}`")
            continue
        for sign in "\\*_<>|$[]":
            piece = piece.replace(sign, "\\" + sign)
        done.append(piece)
    return "".join(done)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _folded(summary: str, inside: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{inside}\n\n</details>"
