"""Ending a stream of text at a given string, wherever the pieces happen to be cut."""

from __future__ import annotations


class StopFilter:
    """Pass text on, but never a stop string nor what may still become one.

    >>> f = StopFilter(["END"])
    >>> f.push("the E"), f.push("Nglish EN"), f.push("D and more"), f.stopped
    ('the ', 'ENglish ', '', True)
    """

    def __init__(self, stop: list[str]) -> None:
        self._stop = [s for s in stop if s]
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Text that is certain now."""
        if self.stopped:
            return ""
        text = self._held + piece
        found = [at for at in (text.find(s) for s in self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, s) for s in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back, once no more text can come; nothing after a stop string."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n])), 0)
