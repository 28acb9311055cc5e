"""Windows of a long row of tokens, for training and for evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from llama_course.errors import CourseError

Tokens = np.ndarray | Tensor


class TokenBatches:
    """Training batches that are a function of the step alone.

    There is no state to keep: `at(step)` gives the same batch in a fresh process, in any order of
    calls, so a resumed run reads exactly what an uninterrupted one would have read.

    Each epoch lays windows of `seq_len` side by side, beginning at an offset of that epoch, and
    visits them in a fresh order. A permutation is used and not independent random offsets: these
    would leave out about a third of the text (1/e) in one epoch's worth of windows. What remains
    unread in an epoch is less than two windows, at the ends, and another epoch reads it.

    `tokens` is one-dimensional (an array, a memory map or a tensor), at least `seq_len + 1` long;
    `seed` is a whole number from 0. Order and offset come from the raw output of the Philox
    generator keyed with (seed, epoch), which NumPy promises never to change.
    """

    def __init__(self, tokens: Tokens, batch_size: int, seq_len: int, seed: int = 0) -> None:
        if batch_size < 1:
            raise CourseError(f"batch_size must be at least 1 sequence, found {batch_size}.")
        if not 0 <= seed < 2**64:
            raise CourseError(f"The seed must be a whole number from 0 to 2**64 - 1, found {seed}.")
        self.tokens = as_row(tokens, seq_len)
        self.batch_size = batch_size
        self.seq_len = seq_len
        self.seed = seed
        targets = len(self.tokens) - 1
        # One window fewer than fits leaves room for the offset.
        self.windows_per_epoch = max(1, targets // seq_len - 1)
        self._offsets = min(seq_len, targets - self.windows_per_epoch * seq_len + 1)
        self._epoch: tuple[int, np.ndarray] | None = None  # the latest order, to save its sorting

    def at(self, step: int) -> tuple[Int[Tensor, "batch seq"], Int[Tensor, "batch seq"]]:
        """The inputs of a step (from 0) and, one token further, its targets; both int64."""
        first = step * self.batch_size
        starts = [self._start(i) for i in range(first, first + self.batch_size)]
        rows = np.stack([self.tokens[s : s + self.seq_len + 1] for s in starts])
        both = torch.from_numpy(rows.astype(np.int64))
        return both[:, :-1], both[:, 1:]

    def _start(self, window: int) -> int:
        """Where the window stands that is number `window` of the whole training run."""
        epoch, i = divmod(window, self.windows_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            key = np.array([self.seed, epoch], dtype=np.uint64)
            raw = np.random.Philox(key=key).random_raw(self.windows_per_epoch + 1)
            offset = int(raw[0] % np.uint64(self._offsets))
            self._epoch = epoch, np.argsort(raw[1:], kind="stable") * self.seq_len + offset
        return int(self._epoch[1][i])


def eval_windows(
    tokens: Tokens, seq_len: int, batch_size: int = 1, count: int | None = None
) -> Iterator[tuple[Int[Tensor, "batch seq"], Int[Tensor, "batch seq"]]]:
    """Batches (inputs, targets), int64, in which every token but the first is a target once.

    Windows stand side by side and are all of `seq_len` but the last, which may be shorter and
    comes alone. `count` takes that many windows, evenly spread over the text, instead of all.
    A row shorter than one window is one short window; it must have two tokens.
    """
    row = as_row(tokens, 1)
    starts = np.arange(0, len(row) - 1, seq_len)
    if count is not None and count < len(starts):
        starts = starts[np.linspace(0, len(starts) - 1, max(count, 1)).round().astype(int)]
    whole = starts[starts + seq_len < len(row)]
    groups = [whole[i : i + batch_size] for i in range(0, len(whole), batch_size)]
    if len(whole) < len(starts):
        groups.append(starts[-1:])
    for group in groups:
        rows = np.stack([row[s : s + seq_len + 1] for s in group])
        both = torch.from_numpy(rows.astype(np.int64))
        yield both[:, :-1], both[:, 1:]


def as_row(tokens: Tokens, seq_len: int) -> np.ndarray:
    """The tokens as a one-dimensional integer array with room for one window, or `CourseError`."""
    row = tokens.detach().cpu().numpy() if isinstance(tokens, Tensor) else tokens
    if row.ndim != 1 or not np.issubdtype(row.dtype, np.integer):
        raise CourseError(
            "Tokens must be one row of whole numbers, found an array of shape "
            f"{tuple(row.shape)} and type {row.dtype}; encode_corpus makes such a row from text."
        )
    if seq_len < 1:
        raise CourseError(f"seq_len must be at least 1 token, found {seq_len}.")
    if len(row) < seq_len + 1:
        raise CourseError(
            f"The text has {len(row)} tokens, and one window of seq_len {seq_len} needs "
            f"{seq_len + 1}; take a longer text or a shorter seq_len."
        )
    return row
