"""Ctrl-C between two steps, never within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupt() -> Iterator[Callable[[], bool]]:
    """Within the block a first Ctrl-C only makes the yielded function say True.

    A step that is cut in its middle leaves weights that no step made. A second Ctrl-C is raised
    as usual, for whoever cannot wait. Outside the main thread signals are not ours to take, and
    the function always says False.
    """
    asked = False

    def hold(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
