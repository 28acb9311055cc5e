"""A model class of one's own beside the reference: what it gives to its blocks, and they to it.

Every block computes with the reference's own stream, so that a block is compared for what it does
with the right input. After the text as a whole come a stream made small (where epsilon counts), a
long text (where low-precision angles show) and the text in pieces, with the class's own cache.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llama_course.checkpoints.names import EMBEDDING, HEAD
from llama_course.parity.blocks import Block, Place, block_guesses, cached_guesses
from llama_course.parity.functions import raised
from llama_course.parity.guesses import EPSILONS, Guess, guesses, ratio
from llama_course.parity.report import Difference
from llama_course.parity.roundings import rounding
from llama_course.parity.rules import (
    ANGLES,
    CLOSE,
    EXACT,
    LOW,
    TRUTH,
    Against,
    Gap,
    Rule,
    gap,
    near,
)
from llama_course.parity.sides import Side
from llama_course.parity.trace import Trace
from llama_course.parity.watched import Expected, Run, Seen, run_watched, spread

LONG = 1100  # tokens for the angles alone: in bfloat16 positions are whole numbers up to 256
NOTHING = "None of the usual mistakes that were tried fits."


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
    found = _of_model(trace, model, run, place)
    if run.error is not None and not any(isinstance(s.out, BaseException) for s in run.seen):
        name = type(model).__name__
        found.append(Difference(f"{name}.forward", (0, 0), raised(run.error)))
    for k, seen in enumerate(run.seen[: trace.a.config.n_layers]):
        difference = _block(trace, k, seen, place, "")
        if difference is not None:
            found.append(difference)
    if run.error is None:
        found += _logits(trace, run.result)
    return sorted(found, key=lambda d: d.order)


def _of_model(trace: Trace, model: nn.Module, run: Run, place: Place) -> list[Difference]:
    """What the model gives to its blocks."""
    config, found = trace.a.config, []
    if not run.seen and run.error is None:
        return []  # the blocks were not seen, so only the logits can be compared
    ran = [seen.layer for seen in run.seen]
    if run.error is None and ran != list(range(config.n_layers)):
        found.append(_wrong_layers(ran, config.n_layers))
    for k, seen in enumerate(run.seen[: config.n_layers]):
        right = trace.streams[k]
        apart = gap(CLOSE, right, seen.x)
        if apart is not None:
            where = f"the stream between layers {k - 1} and {k}" if k else "tok_embeddings output"
            order = (2, k, -1) if k else (0, 1)
            found.append(_difference(where, order, apart, _stream_meanings(right, seen.x)))
            break
    return found + _tables(run.seen, place, torch.arange(trace.tokens.shape[1]), trace, "")


def _wrong_layers(ran: list[int], n_layers: int) -> Difference:
    """The blocks did not run each once, in their order."""
    expected = list(range(n_layers))
    k = next(i for i in range(max(len(ran), n_layers)) if ran[i : i + 1] != expected[i : i + 1])
    got = f"layers.{ran[k]} ran" if k < len(ran) else "nothing ran"
    words = f"{got} where layers.{k} was expected" if k < n_layers else f"{got} after the last"
    if ran == expected[::-1]:
        means = "the layers run in reverse order."
    elif len(set(ran)) < len(ran):
        means = "one layer's weights are used again."
    elif len(ran) < n_layers:
        means = f"{len(ran)} of {n_layers} layers ran: some are left out."
    else:
        means = "the layers run in another order."
    return Difference(f"layers.{min(k, n_layers - 1)}", (2, k, -2), words,
                      meanings=(f"What fits: {means}",))  # fmt: skip


def _stream_meanings(right: Tensor, found: Any) -> tuple[str, ...]:
    factor = ratio(right, found)
    if factor is not None:
        return (f"What fits: every number is {factor:.6g} times what it should be.",)
    return (NOTHING,)


def _tables(
    seen: list[Seen], place: Place, positions: Tensor, trace: Trace, when: str
) -> list[Difference]:
    """Cosine, sine and mask, as the model gives them to its blocks; each is told once."""
    found: dict[str, Difference] = {}
    for k, one in enumerate(seen):
        order = ((5,) if when else ()) + ((1,) if k == 0 else (2, k, -1))
        to = "the blocks" if k == 0 else f"layers.{k}"
        cos, sin, mask = (*one.tables, None, None, None)[:3]
        apart = gap(ANGLES, *_pair(place.cos, cos), Against(_along(positions, cos)))
        apart = apart or gap(ANGLES, *_pair(place.sin, sin), Against(_along(positions, sin)))
        if apart is not None and "angles" not in found:
            means = _angle_meanings(trace, positions, (cos, sin))
            where = f"{when}the angles given to {to}"
            found["angles"] = _difference(where, (*order, 0), apart, means)
        apart = None if mask is None else gap(EXACT, *_pair(place.mask, mask))
        if apart is not None and "mask" not in found:
            means = _mask_meanings(positions, place.mask, mask)
            where = f"{when}the mask given to {to}"
            found["mask"] = _difference(where, (*order, 1), apart, means)
    return list(found.values())


def _difference(
    where: str, order: tuple[int, ...], apart: Gap, means: tuple[str, ...] = ()
) -> Difference:
    return Difference(where, order, apart.words, apart.max_abs, apart.relative, means)


def _pair(right: Tensor, given: Any) -> tuple[Tensor, Any]:
    return spread(right, given), given


def _along(positions: Tensor, given: Any) -> Tensor:
    """The position of each row of a table of angles."""
    if isinstance(given, Tensor) and given.ndim > 2 and given.shape[-2] == len(positions):
        return positions.expand(given.shape[:-1])
    return positions


def _angle_meanings(trace: Trace, positions: Tensor, found: tuple[Any, ...]) -> tuple[str, ...]:
    config, angles = trace.a.config, trace.a.functions.rope_angles
    shape = (len(positions), config.head_dim // 2)
    if not all(isinstance(t, Tensor) and t.shape[-2:] == shape for t in found):
        return (NOTHING,)
    flat = tuple(t.reshape(-1, *shape)[0] for t in found)
    args = (positions, config.head_dim, config.rope_theta)
    last = int(positions[-1])
    tries = [
        Guess(_shift_words(s, positions), _shifted(angles, s))
        for s in range(-min(last, 64), 65)
        if s
    ]
    tries.append(Guess("the positions are rounded to bfloat16.", _rounded(angles)))
    fit = []
    for guess in (*tries, *guesses("rope_angles", args, flat)):
        made = guess.compute(*args)
        if all(
            gap(ANGLES, m, t, Against(positions)) is None for m, t in zip(made, flat, strict=True)
        ):
            fit.append(f"What fits: {guess.meaning}")
    return tuple(dict.fromkeys(fit)) or (NOTHING,)


def _rounded(angles: Callable[..., Any]) -> Callable[..., Any]:
    return lambda p, d, t: angles(p.to(torch.bfloat16).long(), d, t)


def _shift_words(shift: int, positions: Tensor) -> str:
    if shift == -int(positions[0]) and int(positions[0]):
        return "the positions begin at 0 again: they must go on behind what the cache holds."
    return f"the positions are shifted by {shift:+d}."


def _shifted(angles: Callable[..., Any], shift: int) -> Callable[..., Any]:
    return lambda p, d, t: angles(p + shift, d, t)


def _mask_meanings(positions: Tensor, right: Tensor, found: Any) -> tuple[str, ...]:
    if not isinstance(found, Tensor):
        return (NOTHING,)
    keys = torch.arange(right.shape[-1])
    new = len(positions)
    if found.shape[-2:] == (new, new) != right.shape[-2:]:
        return ("What fits: the mask knows the new tokens only, and not those in the cache.",)
    fit = []
    for guess in guesses("causal_mask", (positions, keys), found):
        made = spread(guess.compute(positions, keys), found)
        if near(EXACT, made, found, spread(right, found)):
            fit.append(f"What fits: {guess.meaning}")
    return tuple(fit) or (NOTHING,)


# ---- a block -------------------------------------------------------------------------------------


def _rule(dtype: torch.dtype) -> Rule:
    return TRUTH if dtype in LOW else CLOSE


def _block(trace: Trace, k: int, seen: Seen, place: Place, when: str) -> Difference | None:
    """What block k gave for the reference's stream, against what it should give."""
    start = 0 if place.past is None else place.past.shape[1]
    stop = start + place.cos.shape[-2]
    x, right = (trace.streams[j][:, start:stop] for j in (k, k + 1))
    where = f"{when}layers.{k}"
    order = (5, 2, k) if when else (2, k, 20)
    if isinstance(seen.out, BaseException):
        return Difference(where, order, raised(seen.out))
    rule = _rule(trace.dtype)
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
    means = _fitting(tries, (x, place), rule, right, seen.out, truth)
    return _difference(where, order, apart, means)


def _wide(place: Place) -> Place:
    past = None if place.past is None else place.past.float()
    return Place(place.cos, place.sin, place.mask, past, place.past_cos, place.past_sin)


def _fitting(
    tries: list[Guess],
    args: tuple[Any, ...],
    rule: Rule,
    right: Tensor,
    found: Any,
    truth: Against | None,
) -> tuple[str, ...]:
    fit = []
    for guess in tries:
        try:
            made = guess.compute(*args)
        except (RuntimeError, ValueError):  # shapes that this guess does not go with
            continue
        if near(rule, made, found, right, truth):
            fit.append(f"What fits: {guess.meaning}")
    return tuple(dict.fromkeys(fit)) or (NOTHING,)


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
    ending = Trace(trace.a, trace.tokens, trace.positions, trace.dtype, probes=False)
    ending.streams = streams
    ending.logits = _ending(ending, trace.dtype)
    found = [_block(ending, 0, run.seen[0], place, "")]
    if trace.a.config.n_layers > 1:
        found += _logits(ending, run.result)
    note = ", where the stream is made small"
    return [dataclasses.replace(d, words=d.words + note) for d in found if d is not None]


# ---- behind the blocks ---------------------------------------------------------------------------


def _logits(trace: Trace, found: Any) -> list[Difference]:
    right = trace.logits
    assert right is not None
    rule: Rule = CLOSE
    truth = None
    if trace.dtype in LOW:
        rule, truth = TRUTH, Against(_ending(trace, torch.float32))
    apart = gap(rule, right, found, truth)
    if apart is None:
        return []
    eps = trace.a.config.norm_eps
    tries = [
        Guess("the last norm is left out.", lambda: _ending(trace, trace.dtype, norm=False)),
        Guess("the head is tied: the embedding serves as the output.",
              lambda: _ending(trace, trace.dtype, head=EMBEDDING)),
        Guess("a softmax was taken of the scores.",
              lambda: right.softmax(-1)),
        Guess("a log-softmax was taken of the scores.", lambda: right.log_softmax(-1)),
        Guess("only the last position is scored.", lambda: right[:, -1:]),
        Guess("only the last position is scored.", lambda: right[:, -1]),
        Guess("the scores are in the weights' dtype and not in float32.",
              lambda: right.to(trace.dtype)),
    ]  # fmt: skip
    tries += [
        Guess(f"epsilon is {e:g} in the last norm.", _ending_with(trace, e))
        for e in EPSILONS
        if e != eps
    ]
    means = _fitting(tries, (), rule, right, found, truth)
    told = " ".join(means)
    where = "norm" if "norm" in told else "output" if "What fits" in told else "norm and output"
    return [_difference(where, (4, 1), apart, means)]


def _ending(
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


def _ending_with(trace: Trace, eps: float) -> Callable[[], Tensor]:
    return lambda: _ending(trace, trace.dtype, eps=eps)


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
    return _tables(run.seen, place, positions, trace, when)


def _cached(trace: Trace, model: nn.Module, place: Place) -> list[Difference]:
    """The same text in three pieces, with the cache that the class makes."""
    batch, n = trace.tokens.shape
    maker = getattr(model, "new_cache", None)
    if not callable(maker) or "cache" not in inspect.signature(model.forward).parameters:
        return []
    try:
        cache = maker(batch, n)
    except Exception as error:
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
    found = _tables(run.seen, here, torch.arange(start, stop), trace, when)
    found += _caches(run.seen, when)
    for k, seen in enumerate(run.seen[: trace.a.config.n_layers]):
        given = here
        if start:
            past = trace.streams[k][:, :start]
            given = Place(*expected.tables, past, place.cos[:start], place.sin[:start])
        difference = _block(trace, k, seen, given, when)
        if difference is not None:
            found.append(difference)
    found += _unfilled(run.seen, stop, when)
    if run.error is None and not found and trace.logits is not None:
        rule, truth = _rule(trace.dtype), None
        right = trace.logits[:, start:stop]
        if trace.dtype in LOW:
            truth = Against(_ending(trace, torch.float32)[:, start:stop])
        apart = gap(rule, right, run.result, truth)
        if apart is not None:
            where = f"{when}the logits"
            found.append(_difference(where, (6,), apart))
    return found


def _unfilled(seen: list[Seen], stop: int, when: str) -> list[Difference]:
    """A cache that does not hold the tokens that were read, as far as it tells its length."""
    for k, one in enumerate(seen):
        length = getattr(one.cache, "length", None)
        if isinstance(length, Tensor) and not bool((length == stop).all()):
            words = f"its cache holds {length.tolist()} tokens a row, and {stop} were read"
            return [Difference(f"{when}layers.{k}", (5, 3, k), words)]
    return []


def _caches(seen: list[Seen], when: str) -> list[Difference]:
    """Each block needs a cache of its own."""
    for k, one in enumerate(seen):
        if one.cache is None:
            words = "it was given no cache, and the model has one"
            return [Difference(f"{when}layers.{k}", (5, 1, 2), words)]
        for j in range(k):
            if seen[j].cache is one.cache and not isinstance(one.cache, list | tuple):
                words = f"it was given the same cache as layers.{j}; each layer needs its own"
                return [Difference(f"{when}layers.{k}", (5, 1, 2), words)]
    return []
