"""What `check` returns: the facts by name, shown as a card."""

from __future__ import annotations

from dataclasses import dataclass, field

from llama_course.checks.engine.judge import BORROWED, NOT_ATTEMPTED, PASS, Verdict
from llama_course.checks.exercise import Exercise
from llama_course.workbook import card


class CheckFailed(AssertionError):
    """Raised by `check(..., strict=True)` when the state is not "pass"."""


@dataclass(frozen=True, repr=False)
class Result:
    """`state` is one of: pass, wrong, crashed, not attempted, too slow, borrowed, stale, unknown.

    `mistake` is the name of the mistake, or None where it is none that is known; where two fit, it
    is both names with " or " between. `parts` has the state of each function or class.
    """

    name: str
    state: str
    message: str
    mistake: str | None = None
    parts: dict[str, str] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()  # what was kept, and what not and why
    hint: str | None = None  # the next hint, folded in the card

    @property
    def verdict(self) -> Verdict | None:
        """The verdict that the card speaks of: the first that is not a pass."""
        return shown(self.verdicts)

    def __bool__(self) -> bool:
        return self.state == PASS

    def __repr__(self) -> str:
        return card.as_text(self.card())

    def _repr_markdown_(self) -> str:
        return card.as_markdown(self.card())

    def _repr_html_(self) -> str:
        return card.as_html(self.card())

    def card(self) -> card.Card:
        """The card's contents, before they are set in text, Markdown or HTML."""
        return card.card_of(self)


def shown(verdicts: tuple[Verdict, ...]) -> Verdict | None:
    """The verdict to speak of first: an attempt that failed, else what is not attempted."""
    order = {PASS: 2, NOT_ATTEMPTED: 1}
    return min(verdicts, key=lambda v: order.get(v.state, 0), default=None)


def result_of(exercise: Exercise, verdicts: dict[str, Verdict], notes: tuple[str, ...]) -> Result:
    """The result of a whole exercise."""
    found = tuple(verdicts.values())
    first = shown(found)
    assert first is not None
    message = first.message
    if first.state == PASS:
        message = (
            "Everything that is asked for holds."
            if len(found) == 1
            else (f"All {len(found)} parts pass, each alone and all together.")
        )
    hint = None
    if first.state != PASS:
        known = first.mistakes[0] if first.mistakes else None
        hint = known.help if known is not None and known.help else exercise.hints.nudge
        hint = f"{hint} More: hint({exercise.name!r})."
        if first.state == BORROWED:
            hint = f"{exercise.hints.nudge} More: hint({exercise.name!r})."
    return Result(
        name=exercise.name,
        state=first.state,
        message=message,
        mistake=" or ".join(m.name for m in first.mistakes) or None,
        parts={v.part: v.state for v in found},
        verdicts=found,
        notes=notes,
        hint=hint,
    )
