"""A model class of one's own beside the reference: what it gives to its blocks, and they to it.

Every block computes with the reference's own stream, so that a block is compared for what it does
with the right input. After the text as a whole come a stream made small (where epsilon counts), a
long text (where low-precision angles show) and the text in pieces, with the class's own cache.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from typing import Any

import torch
from torch import Tensor, nn

from llama_course.parity.blocks import Block, Place
from llama_course.parity.functions import STOPS, raised
from llama_course.parity.inputs import unfilled, wrong_caches, wrong_inputs, wrong_tables
from llama_course.parity.outputs import ending, wrong_block, wrong_logits
from llama_course.parity.report import Difference
from llama_course.parity.sides import Side
from llama_course.parity.trace import Trace
from llama_course.parity.watched import Expected, run_watched

LONG = 1100  # tokens for the angles alone: in bfloat16 positions are whole numbers up to 256


def compare_own(trace: Trace, b: Side) -> list[Difference]:
    """The components of a class of one's own that differ; `trace` has run, on 1-D positions."""
    assert b.module is not None and trace.angles is not None and trace.mask is not None
    place = Place(*trace.angles, trace.mask)
    with torch.no_grad():
        found = _plain(trace, b.module, place)
        if not found:
            found = _probe(trace, b.module, place)
        if not found:
            found = _long(trace, b.module)
        if not found:
            found = _cached(trace, b.module, place)
    return found


# ---- the whole text at once ----------------------------------------------------------------------


def _plain(trace: Trace, model: nn.Module, place: Place) -> list[Difference]:
    run = run_watched(model, trace.tokens, Expected(trace.streams, place))
    found = wrong_inputs(trace, run, place)
    if run.error is not None and not any(isinstance(s.out, BaseException) for s in run.seen):
        name = type(model).__name__
        found.append(Difference(f"{name}.forward", (0, 0), raised(run.error)))
    for k, seen in enumerate(run.seen[: trace.a.config.n_layers]):
        difference = wrong_block(trace, k, seen, place, "")
        if difference is not None:
            found.append(difference)
    if run.error is None:
        found += wrong_logits(trace, run.result)
    return sorted(found, key=lambda d: d.order)


def _small(stream: Tensor) -> Tensor:
    """The stream made small, token by token, so that epsilon counts."""
    return stream * 100.0 ** -(torch.arange(stream.shape[1]) % 5).to(stream.dtype)[:, None]


def _probe(trace: Trace, model: nn.Module, place: Place) -> list[Difference]:
    """Layer 0, and what is behind the last layer, for a small stream; the rest is not computed."""
    small = [_small(stream) for stream in trace.streams]
    block = Block(trace.a, 0, trace.dtype)
    streams = [small[0], block.forward(small[0], place), *small[2:]]
    run = run_watched(model, trace.tokens, Expected(streams, place, stub_after=1))
    if run.error is not None or not run.seen:
        return []  # it ran with the usual stream
    short = Trace(trace.a, trace.tokens, trace.positions, trace.dtype, probes=False)
    short.streams = streams
    short.logits = ending(short, trace.dtype)
    found = [wrong_block(short, 0, run.seen[0], place, "")]
    if trace.a.config.n_layers > 1:
        found += wrong_logits(short, run.result)
    note = ", where the stream is made small"
    return [dataclasses.replace(d, words=d.words + note) for d in found if d is not None]


# ---- long texts, and texts in pieces -------------------------------------------------------------


def _long(trace: Trace, model: nn.Module) -> list[Difference]:
    """The angles and the mask of a long text; the blocks are not computed."""
    config, f = trace.a.config, trace.a.functions
    n = min(LONG, config.max_seq_len)
    positions = torch.arange(n)
    tokens = trace.tokens[:1].repeat(1, -(-n // trace.tokens.shape[1]))[:, :n]
    angles = f.rope_angles(positions, config.head_dim, config.rope_theta)
    place = Place(*angles, f.causal_mask(positions, positions))
    empty = torch.zeros(1, n, config.dim, dtype=trace.dtype)
    run = run_watched(model, tokens, Expected([empty] * (config.n_layers + 1), place, stub_after=0))
    when = f"in a text of {n} tokens, "
    if run.error is not None:
        return [Difference(f"{when}{type(model).__name__}.forward", (5,), raised(run.error))]
    return wrong_tables(run.seen, place, positions, trace, when)


def _cached(trace: Trace, model: nn.Module, place: Place) -> list[Difference]:
    """The same text in three pieces, with the cache that the class makes."""
    batch, n = trace.tokens.shape
    maker = getattr(model, "new_cache", None)
    if not callable(maker) or "cache" not in inspect.signature(model.forward).parameters:
        return []
    try:
        cache = maker(batch, n)
    except STOPS as error:
        return [Difference(f"{type(model).__name__}.new_cache", (5, 0), raised(error))]
    for start, stop in itertools.pairwise((0, n // 2, n - 1, n)):
        found = _piece(trace, model, place, cache, start, stop)
        if found:
            return found
    return []


def _piece(
    trace: Trace, model: nn.Module, place: Place, cache: Any, start: int, stop: int
) -> list[Difference]:
    which = f"token {start + 1}" if stop == start + 1 else f"tokens {start + 1} to {stop}"
    when = f"with a cache, at {which}, "
    here = Place(place.cos[start:stop], place.sin[start:stop], place.mask[start:stop, :stop])
    expected = Expected([s[:, start:stop] for s in trace.streams], here)
    run = run_watched(model, trace.tokens[:, start:stop], expected, cache=cache)
    if run.error is not None and not any(isinstance(s.out, BaseException) for s in run.seen):
        return [Difference(f"{when}{type(model).__name__}.forward", (5,), raised(run.error))]
    found = wrong_tables(run.seen, here, torch.arange(start, stop), trace, when)
    found += wrong_caches(run.seen, when)
    for k, seen in enumerate(run.seen[: trace.a.config.n_layers]):
        given = here
        if start:
            past = trace.streams[k][:, :start]
            given = Place(*expected.tables, past, place.cos[:start], place.sin[:start])
        difference = wrong_block(trace, k, seen, given, when)
        if difference is not None:
            found.append(difference)
    found += unfilled(run.seen, stop, when)
    if run.error is None and not found:
        found += wrong_logits(trace, run.result, slice(start, stop), when)
    return found
