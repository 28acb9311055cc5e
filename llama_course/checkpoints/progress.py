"""A progress bar for what takes long, and none for what does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

LONG = 10**9  # bytes


@contextmanager
def bar(what: str, nbytes: int, wanted: bool | None = None) -> Iterator[Callable[[int], None]]:
    """A function to be told of bytes done, shown as a bar.

    `wanted` None shows it for more than a gigabyte, in a terminal or a notebook.
    """
    if wanted is None:
        wanted = nbytes > LONG and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    if not wanted:
        yield lambda done: None
        return
    with tqdm(total=nbytes, desc=what, unit="B", unit_scale=True) as shown:
        yield lambda done: (shown.update(done), None)[1]
