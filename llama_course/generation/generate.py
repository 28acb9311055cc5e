"""Generation: read the prompt once, then one token at a time, as text that streams."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import overload

import torch
from torch import Tensor, nn

from llama_course.errors import CourseError
from llama_course.generation.sampling import check_sampling, sample
from llama_course.generation.stepping import (
    Ids,
    Stepper,
    check_model,
    has_cache,
    warn_without_cache,
)
from llama_course.generation.stopping import StopFilter
from llama_course.hardware import GB, free_memory
from llama_course.tokenizers import StreamDecoder, Tokenizer


@overload
def generate(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompt: str | Ids,
    max_new_tokens: int = ...,
    *,
    temperature: float | int = ...,
    top_k: int | None = ...,
    top_p: float | int | None = ...,
    seed: int | None = ...,
    stop: Sequence[str] = ...,
) -> Iterator[str]: ...


@overload
def generate(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompt: list[str] | list[Ids],
    max_new_tokens: int = ...,
    *,
    temperature: float | int = ...,
    top_k: int | None = ...,
    top_p: float | int | None = ...,
    seed: int | None = ...,
    stop: Sequence[str] = ...,
) -> Iterator[list[str]]: ...


def generate(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompt: str | Ids | list[str] | list[Ids],
    max_new_tokens: int = 100,
    *,
    temperature: float | int = 0.8,
    top_k: int | None = None,
    top_p: float | int | None = 0.9,
    seed: int | None = None,
    stop: Sequence[str] = (),
) -> Iterator[str] | Iterator[list[str]]:
    """Yield the text that follows `prompt`, piece by piece, as soon as each piece is certain.

    A string gets the begin-of-sequence token; a list of ids is used as it is. A list of prompts
    runs as one batch and yields one list of new pieces a step, "" where a row has nothing new.
    Generation ends at the end-of-sequence token, at any of the strings in `stop` (which is not
    part of the text), after `max_new_tokens`, or where the context is full. `temperature=0` takes
    the likeliest token each time; see `sample` for the rest. The same `seed` gives the same text
    on the same device.

    `model` is the library's or a class of your own with a `config` and a
    `forward(tokens, *, cache=None)` that returns logits (batch, seq, vocab) in float32. It brings
    its cache, `new_cache(batch_size, max_seq_len)`; without one the whole text is read again for
    each token. A forward that takes no `lengths` needs prompts of one length.

    Raises `CourseError` at once for an empty prompt, ids outside the vocabulary, or a prompt that
    does not fit into the context; and, at a step, for logits that are not what they must be.
    """
    if isinstance(stop, str):
        stop = (stop,)
    batch, single = _as_batch(prompt)
    rows = [tokenizer.encode(p, bos=True) if isinstance(p, str) else list(p) for p in batch]
    ended = [False] * len(rows)
    steps = generate_ids(
        model,
        rows,
        max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop_ids=[tokenizer.eos_id],
        ended=ended,
    )
    pieces = _text(steps, tokenizer, rows, list(stop), ended)
    return (row[0] for row in pieces if row[0]) if single else pieces


def generate_ids(
    model: nn.Module,
    prompts: list[Ids],
    max_new_tokens: int = 100,
    *,
    temperature: float | int = 0.8,
    top_k: int | None = None,
    top_p: float | int | None = 0.9,
    seed: int | None = None,
    stop_ids: Sequence[int] = (),
    ended: list[bool] | None = None,
) -> Iterator[list[int | None]]:
    """Yield each row's next token id, None for a row that has ended.

    A row ends at one of `stop_ids`, which is not yielded. The list `ended` is kept up to date
    and may be written to between steps: `ended[2] = True` ends the third row.
    """
    check_sampling(temperature, top_k, top_p)
    room = _checked_room(model, prompts, max_new_tokens)
    device = next(model.parameters()).device
    generator = torch.Generator(device=device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    ended = [False] * len(prompts) if ended is None else ended

    def draw(logits: Tensor) -> Tensor:
        return sample(logits, temperature, top_k, top_p, generator)

    return _steps(model, prompts, room, draw, set(stop_ids), ended)


def _steps(
    model: nn.Module,
    prompts: list[Ids],
    room: int,
    draw: Callable[[Tensor], Tensor],
    stop_ids: set[int],
    ended: list[bool],
) -> Iterator[list[int | None]]:
    stepper = Stepper(model, prompts, room)
    logits = stepper.read()
    for left in reversed(range(room)):
        chosen = draw(logits)
        ids = chosen.tolist()
        ended[:] = [e or i in stop_ids for e, i in zip(ended, ids, strict=True)]
        yield [None if e else i for e, i in zip(ended, ids, strict=True)]
        if all(ended) or not left:
            return
        logits = stepper.step(chosen, ended)


def _text(
    steps: Iterator[list[int | None]],
    tokenizer: Tokenizer,
    rows: list[Ids],
    stop: list[str],
    ended: list[bool],
) -> Iterator[list[str]]:
    decoders = [StreamDecoder(tokenizer, row) for row in rows]
    filters = [StopFilter(stop) for _ in rows]
    for ids in steps:
        pieces = ["" if t is None else decoders[i].push(t) for i, t in enumerate(ids)]
        out = [f.push(piece) for f, piece in zip(filters, pieces, strict=True)]
        for i, f in enumerate(filters):
            ended[i] = ended[i] or f.stopped
        if any(out):
            yield out
    # What was held back: half a character, or the beginning of a stop string that never came.
    tail = [f.push(d.finish()) + f.finish() for f, d in zip(filters, decoders, strict=True)]
    if any(tail):
        yield tail


def _as_batch(prompt: str | Ids | list[str] | list[Ids]) -> tuple[list[str] | list[Ids], bool]:
    """The prompts as a list, and whether one alone was given."""
    if isinstance(prompt, str):
        return [prompt], True
    if not prompt:
        raise CourseError("The prompt is empty: give some text, or at least one token id.")
    if isinstance(prompt[0], int):
        return [prompt], True  # type: ignore[return-value]
    return prompt, False  # type: ignore[return-value]


def _checked_room(model: nn.Module, prompts: list[Ids], max_new_tokens: int) -> int:
    """How many new tokens fit. Raises `CourseError` for prompts that cannot be read."""
    config = check_model(model, prompts)
    if max_new_tokens < 1:
        raise CourseError(f"max_new_tokens must be at least 1, found {max_new_tokens}.")
    for row in prompts:
        if not row:
            raise CourseError("The prompt is empty: give some text, or at least one token id.")
        wrong = [i for i in row if not 0 <= i < config.vocab_size]
        if wrong:
            raise CourseError(
                f"The prompt has the token id {wrong[0]}, but this model knows 0 to "
                f"{config.vocab_size - 1}; was it encoded with another tokenizer?"
            )
    longest = max(len(row) for row in prompts)
    if longest >= config.max_seq_len:
        raise CourseError(
            f"The prompt has {longest} tokens, and the model's context of {config.max_seq_len} "
            f"leaves no room for an answer; shorten it to at most {config.max_seq_len - 1} tokens."
        )
    room = min(max_new_tokens, config.max_seq_len - longest)
    if room < max_new_tokens:
        warnings.warn(
            f"Only {room} new tokens fit behind the prompt's {longest} in the model's context of "
            f"{config.max_seq_len}.",
            stacklevel=4,
        )
    scaling = config.rope_scaling
    if scaling and scaling.type == "dynamic" and longest + room > scaling.original_max_seq_len:
        warnings.warn(
            f"Dynamic NTK scaling beyond {scaling.original_max_seq_len} tokens: each step turns "
            "its token by the base of its own length and keeps earlier keys as they were turned, "
            "so the scores differ slightly from one forward over the whole text.",
            stacklevel=4,
        )
    warn_without_cache(model)
    if not has_cache(model):
        return room
    weight = next(model.parameters())
    per_token = 2 * config.n_layers * config.n_kv_heads * config.head_dim * weight.element_size()
    need, free = per_token * len(prompts) * (longest + room), free_memory(weight.device)
    if free is not None and need > free:
        raise CourseError(
            f"The cache for {len(prompts)} rows of {longest + room} tokens takes {need / GB:.1f} "
            f"GB, and {free / GB:.1f} GB are free on {weight.device}; ask for fewer new tokens."
        )
    return room
