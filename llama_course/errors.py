"""The one exception that the course raises on purpose for a person to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CourseError(ValueError):
    """Something the user can mend.

    The text is one sentence that says what was wrong, where, what was expected, what was found
    and what to do. The command line prints it alone and ends with exit code 2.
    """


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Words for an error about an unknown name: the nearest known ones, else all of them.

    >>> nearest("7b", ["7B", "13B"])
    'did you mean 7B?'
    """
    known = list(known)
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(by_lower[c] for c in close)}?"
    return f"known are {', '.join(known)}." if known else "there are none yet."
