"""Running a model class of one's own with its blocks watched, and fed with the reference's stream.

While the class computes, each block's `forward` is replaced by one that writes down what it got
and what it gives, and hands on the reference's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from llama_course.parity.blocks import Place
from llama_course.parity.functions import STOPS

_NAMES = ("x", "cos", "sin", "mask", "cache")


@dataclass
class Seen:
    """What one block got and gave."""

    layer: int
    x: Any
    tables: list[Any]  # cosine, sine, mask: as far as they were given
    cache: Any
    out: Any = None


@dataclass
class Run:
    """One forward: what the blocks saw, what came out, what was raised."""

    seen: list[Seen] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Expected:
    """What the blocks of one forward should get and give."""

    streams: list[Tensor]
    place: Place
    stub_after: int | None = None  # blocks from this one on are not computed

    @property
    def tables(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.place.cos, self.place.sin, self.place.mask


def spread(right: Tensor, given: Any) -> Tensor:
    """The expected table in the shape of the given one, where that is only more axes of it."""
    if isinstance(given, Tensor) and given.ndim > right.ndim:
        try:
            return right.expand(given.shape)
        except RuntimeError:
            return right
    return right


def run_watched(model: nn.Module, tokens: Tensor, expected: Expected, cache: Any = None) -> Run:
    run = Run()
    given = {} if cache is None else {"cache": cache}
    with _watched(model, run, expected):
        try:
            run.result = model(tokens.clone(), **given)
        except STOPS as error:
            run.error = error
    return run


@contextmanager
def _watched(model: nn.Module, run: Run, expected: Expected) -> Iterator[None]:
    blocks = getattr(model, "layers", None)
    layers = list(blocks) if isinstance(blocks, nn.ModuleList | list) else []
    originals = [layer.forward for layer in layers]
    for i, layer in enumerate(layers):
        layer.__dict__["forward"] = _standing_in(i, originals[i], run, expected)
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _standing_in(
    i: int, original: Callable[..., Any], run: Run, expected: Expected
) -> Callable[..., Any]:
    """Block i's forward: writes down what it got, computes with the reference's numbers."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
        k = len(run.seen)
        seen = Seen(i, given.get("x"), [given.get(n) for n in _NAMES[1:4]], given.get("cache"))
        seen.x = seen.x.clone() if isinstance(seen.x, Tensor) else seen.x
        run.seen.append(seen)
        if k + 1 >= len(expected.streams):
            return original(*args, **kwargs)
        if expected.stub_after is not None and k >= expected.stub_after:
            return expected.streams[k + 1]
        right = dict(zip(_NAMES, (expected.streams[k].clone(), *expected.tables), strict=False))
        fed = {
            name: spread(right[name], value)
            if name in right and isinstance(value, Tensor)
            else value
            for name, value in given.items()
        }
        try:
            seen.out = original(
                *[fed[n] for n in _NAMES[: len(args)]], **{n: fed[n] for n in kwargs}
            )
        except STOPS as error:
            seen.out = error
            raise
        same = isinstance(seen.out, Tensor) and seen.out.shape == expected.streams[k + 1].shape
        return expected.streams[k + 1].clone() if same else seen.out

    return forward
