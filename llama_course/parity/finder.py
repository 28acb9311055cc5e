"""`first_divergence`: two checkpoints, or two implementations, component by component."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llama_course.checkpoints.names import EMBEDDING, HEAD, weight_shapes
from llama_course.checkpoints.reading import dtype_name
from llama_course.config import ModelConfig
from llama_course.errors import CourseError
from llama_course.model import Components, rope_angles
from llama_course.parity.caches import compare_caches
from llama_course.parity.functions import compare_functions
from llama_course.parity.own_class import compare_own
from llama_course.parity.report import Comparison, Difference
from llama_course.parity.rules import ANGLES, BITS, CLOSE, EXACT, LOW, TRUTH
from llama_course.parity.sides import Side, side
from llama_course.parity.trace import FAR, Trace, told_layers
from llama_course.parity.weights import STORED, compare_weights, effect, what_it_means

SHAPES = ("dim", "n_layers", "n_heads", "n_kv_heads", "head_dim", "hidden_dim", "vocab_size")
N_TOKENS = 12

Model = str | Path | nn.Module | Side


def first_divergence(
    a: Model,
    b: Model,
    tokens: Tensor | Sequence[int] | None = None,
    *,
    dtype: torch.dtype | None = None,
    parts: Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare B with the reference A; each component of B gets A's own inputs.

    `a` and `b` are paths of checkpoints, `Llama` models, or (`b` alone) a model class of one's own
    with Meta's names, a `config` and blocks called as `Block.forward(x, cos, sin, mask, cache)`.
    `parts` are the functions that such a class is made of, by their names, so that they can be
    compared one by one. `tokens` is a text, (seq,); chance takes its place where it is left out.

    Weights are compared to the last bit, rounded to `dtype` where that is given, to the coarser of
    two stored dtypes otherwise. Functions are compared in float32, and then in `dtype` (or the
    stored dtype) where that is lower. Files are read tensor by tensor, and one layer is held.

    Raises CourseError for what is no model, or tokens outside the vocabulary.
    """
    one, two = side(a), side(b)
    if one.module is not None:
        raise CourseError(
            f"The reference A must be a checkpoint or the library's Llama, found {one.name}; give "
            "your own class as B."
        )
    if parts is not None:
        two = dataclasses.replace(two, parts=parts)
    found, notes = _configs(one, two)
    notes += dict.fromkeys((*one.notes, *two.notes))
    compared = ["config"]
    rules: list[str] = []
    same_shapes = all(getattr(one.config, f) == getattr(two.config, f) for f in SHAPES)
    if not same_shapes:
        notes.append("The weights are not compared, since their shapes differ.")
        return _told(one, two, compared, rules, found, notes)
    rows = _rows(tokens, one.config)
    with torch.no_grad():
        if one.source is not two.source:
            names = [*weight_shapes(one.config)]
            untied = two.module is not None or not two.config.tie_embeddings
            if untied and HEAD not in names:
                names.append(HEAD)
            wrong, said = compare_weights(one, two, names, dtype)
            notes += sorted(said)
            found += wrong
            compared.append(f"{len(names)} weights")
            rules.append(STORED)
        kinds = _kinds(one, two, dtype)
        for kind in kinds:
            wrong, told = _computed(one, two, rows, kind, first=kind is not kinds[-1])
            known = {d.component for d in found}
            found += [d for d in wrong if d.component not in known]
            compared.append(told)
            rules += _rules(kind, two)
            if wrong:
                break  # another formula: lower precision has nothing to add
        found.sort(key=lambda d: d.order)
        if found:
            found[0] = _explained(one, two, found[0], rows, dtype)
    return _told(one, two, compared, rules, found, notes)


def _told(
    a: Side,
    b: Side,
    compared: list[str],
    rules: list[str],
    found: list[Difference],
    notes: list[str],
) -> Comparison:
    rules = list(dict.fromkeys(rules))
    return Comparison(a.name, b.name, tuple(compared), tuple(rules), tuple(found), tuple(notes))


# ---- configs -------------------------------------------------------------------------------------

_MEANS = {
    "norm_eps": "LLaMA 7B to 33B were trained with 1e-6, 65B and Llama 2 with 1e-5; llama2.c's "
    "format cannot say it.",
    "rope_theta": "LLaMA 1 and 2 use 10,000, Code Llama 1,000,000, Llama 3 500,000; llama2.c's "
    "format cannot say it.",
    "rope_scaling": "a scaling that is not read turns every pair by other angles in long texts.",
    "n_kv_heads": "a file without n_kv_heads means as many key/value heads as heads.",
    "vocab_size": "rows are added for special tokens, or left out; the other sizes may be right.",
}


def _configs(a: Side, b: Side) -> tuple[list[Difference], list[str]]:
    found: list[Difference] = []
    notes: list[str] = []
    for name in (*SHAPES, "norm_eps", "rope_theta", "rope_scaling"):
        one, two = getattr(a.config, name), getattr(b.config, name)
        if one == two:
            continue
        words = (
            f"A has {one!r}, B has {two!r}"
            if name == "rope_scaling"
            else f"A has {one:g}, B has {two:g}"
        )
        means = (_MEANS[name],) if name in _MEANS else ()
        found.append(Difference(f"config {name}", (-1, len(found)), words, meanings=means))
    for name in ("max_seq_len", "tie_embeddings"):
        one, two = getattr(a.config, name), getattr(b.config, name)
        if one != two:
            notes.append(f"{name} is {one} in A and {two} in B, which changes no formula.")
    return found, notes


def _config_effect(a: Side, b: Side, found: Difference, rows: Tensor) -> Difference:
    """What another epsilon or theta does to the first thing that is computed with it."""
    if found.component == "config norm_eps":
        x = torch.nn.functional.embedding(rows, a.weight(EMBEDDING)).float()
        weight = a.weight("layers.0.attention_norm.weight", torch.float32)
        one, two = (a.functions.rms_norm(x, weight, s.config.norm_eps) for s in (a, b))
        what = "layer 0's attention_norm"
    elif found.component in ("config rope_theta", "config rope_scaling"):
        positions = torch.arange(min(FAR, a.config.max_seq_len))
        tables = [
            rope_angles(positions, s.config.head_dim, s.config.rope_theta, s.config.rope_scaling)
            for s in (a, b)
        ]
        one, two = tables[0][0], tables[1][0]
        what = f"a cosine within {len(positions)} positions"
    else:
        return found
    off = float((one - two).abs().max())
    share = off / float(one.abs().max())
    words = f"{found.words}; it moves {what} by up to {off:.3g}"
    return dataclasses.replace(found, words=words, max_abs=off, relative=share)


# ---- what is computed ----------------------------------------------------------------------------


def _rows(tokens: Tensor | Sequence[int] | None, config: ModelConfig) -> Tensor:
    """Two rows of tokens (2, seq): the second is the first, begun elsewhere."""
    if tokens is None:
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(config.vocab_size, (N_TOKENS,), generator=generator)
    tokens = torch.as_tensor(tokens, dtype=torch.int64)
    tokens = tokens[0] if tokens.ndim == 2 else tokens
    if tokens.numel() == 0 or int(tokens.min()) < 0 or int(tokens.max()) >= config.vocab_size:
        raise CourseError(
            f"The tokens must be one or more ids from 0 to {config.vocab_size - 1}, found "
            f"{tokens.tolist()[:8]}."
        )
    if len(tokens) < 4:  # too short for chunks
        tokens = tokens.repeat(4)[:4]
    return torch.stack([tokens, tokens.roll(1)])


def _kinds(a: Side, b: Side, dtype: torch.dtype | None) -> list[torch.dtype]:
    """The dtypes to compute in: none where both compute with the library's functions."""
    if b.module is not None:
        return [b.dtype]
    if a.functions == b.functions:
        return []
    kind = dtype or a.dtype
    return [torch.float32, kind] if kind in LOW else [torch.float32]


def _computed(
    a: Side, b: Side, rows: Tensor, kind: torch.dtype, first: bool
) -> tuple[list[Difference], str]:
    """What differs in one dtype, and what was compared; `first` where another dtype follows."""
    name = dtype_name(kind)
    spread = torch.arange(rows.shape[1]) + torch.tensor([[0], [FAR]])
    layers = told_layers(a.config.n_layers)
    few = len(layers) < a.config.n_layers
    begin = few and first
    where = f" (layers {', '.join(map(str, layers[:2] if begin else layers))})" if few else ""
    if b.module is None:
        found = compare_functions(Trace(a, rows, spread, kind, begin=begin), b.functions)
        return found, f"{', '.join(_foreign(a, b.functions))} in {name}{where}"
    parts = dict(b.parts or {})
    named = {f.name for f in dataclasses.fields(Components)}
    functions = dataclasses.replace(a.functions, **{n: p for n, p in parts.items() if n in named})
    found = []
    if _foreign(a, functions):
        found += compare_functions(Trace(a, rows, spread, kind), functions)
    found += compare_caches(parts, kind)
    trace = Trace(a, rows, torch.arange(rows.shape[1]), kind, probes=False)
    trace.run()
    found += compare_own(trace, b)
    told = [*_foreign(a, functions), *(n for n in ("Cache", "decode_positions") if n in parts)]
    return found, f"{', '.join([*told, f'{b.name} and its blocks'])} in {name}"


def _foreign(a: Side, other: Components) -> list[str]:
    own = a.functions
    return [
        f.name
        for f in dataclasses.fields(own)
        if getattr(own, f.name) is not getattr(other, f.name)
    ]


def _rules(kind: torch.dtype, b: Side) -> list[str]:
    if kind in LOW:
        return [EXACT.why, ANGLES.why, BITS.why, TRUTH.why]
    return [EXACT.why, ANGLES.why, CLOSE.why]


# ---- the first one -------------------------------------------------------------------------------


def _explained(
    a: Side, b: Side, found: Difference, rows: Tensor, dtype: torch.dtype | None
) -> Difference:
    """The first difference, with what it means."""
    if found.component.startswith("config"):
        return _config_effect(a, b, found, rows)
    if not found.component.endswith(" weight"):
        return found
    name = f"{found.component.removesuffix(' weight')}.weight"
    means = what_it_means(a, b, name, dtype)
    moved = _effect(a, b, name, rows)
    return dataclasses.replace(found, meanings=(*means, *moved))


def _effect(a: Side, b: Side, name: str, rows: Tensor) -> tuple[str, ...]:
    """How far the output moves that a projection gives for the reference's own input."""
    if name == EMBEDDING or "norm" in name:
        return ()
    component = name.removesuffix(".weight")
    trace = Trace(a, rows, torch.arange(rows.shape[1]), torch.float32, probes=False)
    for call in trace.calls():
        if call.component == component and call.function == "linear":
            apart = effect(a.weight(name), b.weight(name), call.args[0])
            if apart is None or apart.relative is None:
                return ("Its output hardly moves on the reference's input.",)
            return (f"Its output moves by up to {apart.relative:.2g} of its largest value.",)
    return ()
