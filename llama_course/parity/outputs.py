"""What a model class of one's own makes of its inputs: in its blocks, and behind them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from llama_course.checkpoints.names import EMBEDDING, HEAD
from llama_course.parity.blocks import Block, Place, block_guesses, cached_guesses
from llama_course.parity.fitting import scaled, told, what_fits
from llama_course.parity.functions import raised
from llama_course.parity.guesses import EPSILONS, Guess, epsilon_words
from llama_course.parity.inputs import difference
from llama_course.parity.report import Difference
from llama_course.parity.roundings import rounding
from llama_course.parity.rules import CLOSE, LOW, TRUTH, Against, Rule, gap
from llama_course.parity.trace import Trace
from llama_course.parity.watched import Seen


def rule_for(dtype: torch.dtype) -> Rule:
    return TRUTH if dtype in LOW else CLOSE


def wrong_block(trace: Trace, k: int, seen: Seen, place: Place, when: str) -> Difference | None:
    """What block k gave for the reference's stream, against what it should give."""
    start = 0 if place.past is None else place.past.shape[1]
    stop = start + place.cos.shape[-2]
    x, right = (trace.streams[j][:, start:stop] for j in (k, k + 1))
    where = f"{when}layers.{k}"
    order = (5, 2, k) if when else (2, k, 20)
    if isinstance(seen.out, BaseException):
        return Difference(where, order, raised(seen.out))
    rule = rule_for(trace.dtype)
    truth = None
    if rule is TRUTH:
        coarse = dataclasses.replace(trace.a, functions=rounding(trace.a.functions))
        truth = Against(
            Block(trace.a, k, torch.float32).forward(x.float(), _wide(place)),
            Block(coarse, k, trace.dtype).forward(x, place),
        )
    apart = gap(rule, right, seen.out, truth)
    if apart is None:
        return None
    tries = [*block_guesses(trace.a, k, trace.dtype)]
    if when:
        tries = [*cached_guesses(trace.a, k, trace.dtype), *tries]
    means = told(what_fits(tries, (x, place), right, seen.out, rule, truth))
    return difference(where, order, apart, means)


def _wide(place: Place) -> Place:
    past = None if place.past is None else place.past.float()
    return Place(place.cos, place.sin, place.mask, past, place.past_cos, place.past_sin)


def wrong_logits(
    trace: Trace, found: Any, part: slice = slice(None), when: str = ""
) -> list[Difference]:
    """The logits of a part of the text, against what they should be."""
    assert trace.logits is not None
    right, dtype = trace.logits[:, part], trace.dtype
    rule = rule_for(dtype)
    truth = Against(ending(trace, torch.float32)[:, part]) if rule is TRUTH else None
    apart = gap(rule, right, found, truth)
    if apart is None:
        return []
    tries = [*_ending_guesses(trace, part), *scaled(lambda right: right, right, found)]
    fit = what_fits(tries, (right,), right, found, rule, truth)
    of_norm = any("norm" in guess.meaning for guess in fit)
    where = "norm" if of_norm else "output" if fit else "norm and output"
    return [difference(f"{when}{where}", (6,) if when else (4, 1), apart, told(fit))]


def _ending_guesses(trace: Trace, part: slice) -> Iterator[Guess]:
    """What can be wrong behind the last block, from the right logits or the last stream."""

    def put(meaning: str, **how: Any) -> Guess:
        return Guess(meaning, lambda _: ending(trace, trace.dtype, **how)[:, part])

    yield put("the last norm is left out.", norm=False)
    yield put("the head is tied: the embedding serves as the output.", head=EMBEDDING)
    yield Guess("a softmax was taken of the scores.", lambda right: right.softmax(-1))
    yield Guess("a log-softmax was taken of the scores.", lambda right: right.log_softmax(-1))
    yield Guess("only the last position is scored.", lambda right: right[:, -1:])
    yield Guess("only the last position is scored.", lambda right: right[:, -1])
    yield Guess(
        "the scores are in the weights' dtype and not in float32.",
        lambda right: right.to(trace.dtype),
    )
    for eps in EPSILONS:
        if eps != trace.a.config.norm_eps:
            yield put(f"epsilon is {epsilon_words(eps)} in the last norm.", eps=eps)


def ending(
    trace: Trace,
    dtype: torch.dtype,
    norm: bool = True,
    head: str = HEAD,
    eps: float | None = None,
) -> Tensor:
    """The last norm and the head, on the reference's last stream."""
    a, x = trace.a, trace.streams[-1].to(dtype)
    if norm:
        eps = a.config.norm_eps if eps is None else eps
        x = a.functions.rms_norm(x, a.weight("norm.weight", dtype), eps)
    return F.linear(x, a.weight(head, dtype)).float()
