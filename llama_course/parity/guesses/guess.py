"""One thing that a function may be computing in place of what it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NOTHING = "None of the usual mistakes that were tried fits."


@dataclass(frozen=True)
class Guess:
    """What it would mean, and what it would give: one tensor, or cosine and sine.

    `rank` 0 is a mistake by itself; 1 and 2 have a number that was solved for, and are told only
    where no guess of a lower rank fits. `fastest` is for angles, as many times faster than right
    ones as they may grow with the position: rounding grows with them.
    """

    meaning: str
    compute: Callable[..., Any]
    rank: int = 0
    fastest: float = 1.0
