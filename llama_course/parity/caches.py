"""A learner's `Cache` and `decode_positions` against the library's plain ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from llama_course.model.plain_cache import Cache, decode_positions
from llama_course.parity.functions import STOPS, raised
from llama_course.parity.report import Difference
from llama_course.parity.rules import EXACT, gap


def compare_caches(parts: Mapping[str, Any], dtype: torch.dtype) -> list[Difference]:
    """The two parts that are neither functions of the model nor its blocks."""
    found = []
    if "decode_positions" in parts:
        theirs = _positions(parts["decode_positions"])
        found += _differ("decode_positions", _positions(decode_positions), theirs, (-1, 97))
    if "Cache" in parts:
        found += _differ("Cache", _cache(Cache, dtype), _cache(parts["Cache"], dtype), (-1, 98))
    return found


Step = tuple[str, Callable[[], Any]]  # what is done, and what shows for it


def _differ(
    name: str, right: Iterator[Step], theirs: Iterator[Step], order: tuple[int, ...]
) -> list[Difference]:
    """The first step at which the two show something else."""
    for step, wanted in right:
        expected = wanted()
        try:
            found = next(theirs)[1]()
        except STOPS as error:
            return [Difference(name, order, f"{step}: {raised(error)}")]
        if isinstance(expected, Tensor):
            apart = gap(EXACT, expected, found)
            if apart is not None:
                words = f"{step}: {apart.words}"
                return [Difference(name, order, words, apart.max_abs, apart.relative)]
        elif expected != found:
            return [Difference(name, order, f"{step}: {found}, where it should be: {expected}")]
    return []


# How many tokens are appended, and the real ones of each row: a prompt, a token, rows that become
# unequal and equal again, padding beyond the room.
APPENDS = ((2, (2, 2)), (1, None), (2, (1, 2)), (3, (2, 1)), (2, (0, 1)))
ROOM = 7


def _cache(made: Any, dtype: torch.dtype) -> Iterator[Step]:
    heads, head_dim = 2, 4
    cache, other = (made(2, heads, ROOM, head_dim, dtype=dtype) for _ in range(2))
    generator = torch.Generator().manual_seed(0)

    def append(to: Any, n: int, lengths: tuple[int, int] | None) -> str:
        before = to.length
        kept = _copy(before)
        k, v = (torch.randn(2, heads, n, head_dim, generator=generator).to(dtype) for _ in "kv")
        real = torch.tensor(lengths or (n, n))
        for row, count in enumerate(real.tolist()):
            k[row, :, count:] = v[row, :, count:] = float("nan")
        to.append(k, v, *(() if lengths is None else (real,)))
        for given in (k, v, real):
            given.zero_()  # what was appended is the cache's own
        same = not isinstance(before, Tensor) or before.equal(kept)
        return "stored" if same else "stored, and a length that was read before is another now"

    def refused() -> str:
        try:
            return append(cache, 2, (1, 1))
        except ValueError:
            return "a ValueError"

    def shows(when: str) -> Iterator[Step]:
        yield f"{when}, the length", lambda: _copy(cache.length)
        yield f"{when}, the keys", lambda: cache.read()[0].clone()
        yield f"{when}, the values", lambda: cache.read()[1].clone()

    def appended(when: str, to: Any, n: int, lengths: tuple[int, int] | None) -> Iterator[Step]:
        told = "" if lengths is None else f" of lengths {lengths}"
        yield f"{when}, of {n} token{'s' * (n > 1)}{told}", lambda: append(to, n, lengths)
        yield from shows(f"after {when}")

    yield from shows("before the first append")
    for number, (n, lengths) in enumerate(APPENDS, 1):
        yield from appended(f"append {number}", cache, n, lengths)
    yield "an append that is one too many for a row", refused
    yield from shows("after an append that is one too many for a row")
    yield from appended("an append to another cache", other, 1, None)


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _positions(function: Callable[..., Any]) -> Iterator[Step]:
    for lengths, n in (((0, 0), 3), ((3, 3), 1), ((5, 2), 4), ((1000, 7), 2)):
        given = torch.tensor(lengths)
        yield f"for lengths {lengths} and {n} new", partial(function, given, n)
        yield f"the lengths that it was given, {lengths}, afterwards", given.clone
