"""What a model class of one's own gives to its blocks: the stream, the tables, the caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from llama_course.parity.blocks import Place
from llama_course.parity.fitting import scaled, told, what_fits
from llama_course.parity.guesses import NOTHING, Guess, guesses
from llama_course.parity.report import Difference
from llama_course.parity.rules import ANGLES, CLOSE, EXACT, Against, Gap, gap
from llama_course.parity.trace import Trace
from llama_course.parity.watched import Run, Seen, spread


def wrong_inputs(trace: Trace, run: Run, place: Place) -> list[Difference]:
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
            found.append(difference(where, order, apart, _stream_meanings(right, seen.x)))
            break
    return found + wrong_tables(run.seen, place, torch.arange(trace.tokens.shape[1]), trace, "")


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
    tries = scaled(lambda: right, right, found)
    return told(what_fits(tries, (), right, found, CLOSE))


def wrong_tables(
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
            found["angles"] = difference(where, (*order, 0), apart, means)
        apart = None if mask is None else gap(EXACT, *_pair(place.mask, mask))
        if apart is not None and "mask" not in found:
            means = _mask_meanings(positions, place.mask, mask)
            where = f"{when}the mask given to {to}"
            found["mask"] = difference(where, (*order, 1), apart, means)
    return list(found.values())


def difference(
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
    """By other positions, which are the model's own affair; else by what can be wrong in angles."""
    config, angles = trace.a.config, trace.a.functions.rope_angles
    shape = (len(positions), config.head_dim // 2)
    if not all(isinstance(t, Tensor) and t.shape[-2:] == shape for t in found):
        return (NOTHING,)
    flat = tuple(t.reshape(-1, *shape)[0] for t in found)
    args = (positions, config.head_dim, config.rope_theta)
    right = angles(*args)
    shifts = [s for s in range(-min(int(positions[-1]), 64), 65) if s]
    for tries in (
        [Guess(_shift_words(s, positions), _shifted(angles, s)) for s in shifts],
        guesses("rope_angles", args, flat),
    ):
        fit = what_fits(tries, args, right, flat, ANGLES, Against(positions))
        if fit:
            break
    return told(fit)


def _shift_words(shift: int, positions: Tensor) -> str:
    if shift == -int(positions[0]) and int(positions[0]):
        return "the positions begin at 0 again: they must go on behind what the cache holds."
    return f"the positions are shifted by {shift:+d}."


def _shifted(angles: Callable[..., Any], shift: int) -> Callable[..., Any]:
    return lambda p, d, t: angles(p + shift, d, t)


def _mask_meanings(positions: Tensor, right: Tensor, found: Any) -> tuple[str, ...]:
    if not isinstance(found, Tensor):
        return (NOTHING,)
    new = len(positions)
    if found.shape[-2:] == (new, new) != right.shape[-2:]:
        return ("What fits: the mask knows the new tokens only, and not those in the cache.",)
    keys = torch.arange(right.shape[-1])
    tries = [_spread(guess, found) for guess in guesses("causal_mask", (positions, keys), found)]
    return told(what_fits(tries, (positions, keys), spread(right, found), found, EXACT))


def _spread(guess: Guess, found: Tensor) -> Guess:
    """The guess in the shape of what was found, where that only has more axes."""
    return Guess(guess.meaning, lambda *args: spread(guess.compute(*args), found))


def unfilled(seen: list[Seen], stop: int, when: str) -> list[Difference]:
    """A cache that does not hold the tokens that were read, as far as it tells its length."""
    for k, one in enumerate(seen):
        length = getattr(one.cache, "length", None)
        if isinstance(length, Tensor) and not bool((length == stop).all()):
            words = f"its cache holds {length.tolist()} tokens a row, and {stop} were read"
            return [Difference(f"{when}layers.{k}", (5, 3, k), words)]
    return []


def wrong_caches(seen: list[Seen], when: str) -> list[Difference]:
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
