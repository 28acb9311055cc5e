"""A learner's `Cache` and `decode_positions` against the library's plain ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from llama_course.model.plain_cache import Cache, decode_positions
from llama_course.parity.functions import raised
from llama_course.parity.report import Difference
from llama_course.parity.rules import EXACT, gap

ROOM = 6


def compare_caches(parts: Mapping[str, Any], dtype: torch.dtype) -> list[Difference]:
    """The two parts that are neither functions of the model nor its blocks."""
    found = []
    if "Cache" in parts:
        right = dict(_script(Cache, dtype))
        found += _differ("Cache", right, lambda: _script(parts["Cache"], dtype), (-1, 98))
    if "decode_positions" in parts:
        right = dict(_positions(decode_positions))
        given = parts["decode_positions"]
        found += _differ("decode_positions", right, lambda: _positions(given), (-1, 97))
    return found


def _differ(
    name: str,
    right: dict[str, Any],
    make: Callable[[], Iterator[tuple[str, Any]]],
    order: tuple[int, ...],
) -> list[Difference]:
    try:
        for step, value in make():
            wanted = right[step]
            if isinstance(wanted, Tensor):
                apart = gap(EXACT, wanted, value)
                if apart is not None:
                    words = f"{step}: {apart.words}"
                    return [Difference(name, order, words, apart.max_abs, apart.relative)]
            elif wanted != value:
                return [Difference(name, order, f"{step}: expected {wanted}, found {value}")]
    except Exception as error:
        return [Difference(name, order, raised(error))]
    return []


def _script(made: Any, dtype: torch.dtype) -> Iterator[tuple[str, Any]]:
    """A prompt of three tokens, one token, rows of unequal length, and one token too many."""
    heads, head_dim = 2, 4
    cache, other = (made(2, heads, ROOM, head_dim, dtype=dtype) for _ in range(2))
    generator = torch.Generator().manual_seed(0)

    def new(n: int) -> Tensor:
        return torch.randn(2, heads, n, head_dim, generator=generator).to(dtype)

    for step, (n, lengths) in enumerate(((3, None), (1, None), (2, (2, 1)))):
        k, v = new(n), new(n)
        given = () if lengths is None else (torch.tensor(lengths),)
        cache.append(k, v, *given)
        k.zero_()  # what was appended is the cache's own
        v.zero_()
        keys, values = cache.read()
        told = f"after append {step + 1}"
        yield f"{told}, the keys", keys.clone()
        yield f"{told}, the values", values.clone()
        yield f"{told}, the length", _copy(cache.length)
    try:
        cache.append(new(1), new(1))
        yield "a token too many", "stored"
    except ValueError:
        yield "a token too many", "ValueError"
    keys, _ = cache.read()
    yield "after a token too many, the keys", keys.clone()
    yield "another cache, the length", _copy(other.length)


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _positions(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    for lengths, n in (((0, 0), 3), ((3, 3), 1), ((5, 2), 4), ((1000, 7), 2)):
        given = torch.tensor(lengths)
        yield f"for lengths {lengths} and {n} new", function(given, n)
        yield "its argument afterwards", given.tolist() == list(lengths)
