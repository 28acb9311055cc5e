"""`first_divergence`: two checkpoints, or two implementations, component by component."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llama_course.checkpoints.names import EMBEDDING, HEAD, weight_shapes
from llama_course.checkpoints.reading import dtype_name
from llama_course.config import ModelConfig
from llama_course.errors import CourseError
from llama_course.model import Components
from llama_course.parity.caches import compare_caches
from llama_course.parity.configs import SHAPES, compare_configs, config_effect
from llama_course.parity.functions import compare_functions
from llama_course.parity.own_class import compare_own
from llama_course.parity.report import Comparison, Difference
from llama_course.parity.rules import ANGLES, BITS, CLOSE, EXACT, LOW, TRUTH, gap
from llama_course.parity.sides import Side, side
from llama_course.parity.trace import FAR, Trace, told_layers
from llama_course.parity.weights import STORED, compare_weights, what_it_means

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
    found, notes = compare_configs(one, two)
    notes += dict.fromkeys((*one.notes, *two.notes))
    compared = ["config"]
    rules: list[str] = []
    same_shapes = all(getattr(one.config, f) == getattr(two.config, f) for f in SHAPES)
    if not same_shapes:
        notes.append("The weights are not compared, since the sizes differ.")
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
            told = "" if dtype is None else f" rounded to {dtype_name(dtype)}"
            compared.append(f"{len(names)} weights{told}")
            rules.append(STORED)
        kinds = _kinds(one, two, dtype)
        for kind in kinds:
            wrong, told = _computed(one, two, rows, kind, first=kind is not kinds[-1])
            known = {d.component for d in found}
            found += [d for d in wrong if d.component not in known]
            compared.append(told)
            rules += _rules(kind)
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


def _rules(kind: torch.dtype) -> list[str]:
    if kind in LOW:
        return [EXACT.why, ANGLES.why, BITS.why, TRUTH.why]
    return [EXACT.why, ANGLES.why, CLOSE.why]


# ---- the first one -------------------------------------------------------------------------------


def _explained(
    a: Side, b: Side, found: Difference, rows: Tensor, dtype: torch.dtype | None
) -> Difference:
    """The first difference, with what it means."""
    if found.component.startswith("config"):
        return config_effect(a, b, found, rows)
    if not found.component.endswith(" weight"):
        return found
    name = f"{found.component.removesuffix(' weight')}.weight"
    means = what_it_means(a, b, name, dtype)
    return dataclasses.replace(found, meanings=(*means, *_effect(a, b, name, rows)))


def _effect(a: Side, b: Side, name: str, rows: Tensor) -> tuple[str, ...]:
    """How far the output moves that a projection gives for the reference's own input."""
    one, two = a.weight(name, torch.float32), b.weight(name, torch.float32)
    x = None if name == EMBEDDING or "norm" in name else _input(a, name, rows)
    if x is None or one.shape != two.shape:
        return ()
    apart = gap(CLOSE, F.linear(x, one), F.linear(x, two))
    if apart is None:
        return ("Its output hardly moves on the reference's input.",)
    if apart.relative is None:
        return ("Its output is no number any more.",)
    return (f"Its output moves by up to {apart.relative:.2g} of its largest value.",)


def _input(a: Side, name: str, rows: Tensor) -> Tensor | None:
    """What the reference multiplies by a weight."""
    down = name.endswith("w2.weight")
    component = name.removesuffix(".weight").replace("w2", "w1")  # w2 reads what w1 and w3 give
    for call in Trace(a, rows, torch.arange(rows.shape[1]), torch.float32, probes=False).calls():
        if call.component == component and call.function == "linear":
            x, gate = call.args
            if not down:
                return x
            up = a.weight(name.replace("w2", "w3"), torch.float32)
            return F.silu(F.linear(x, gate)) * F.linear(x, up)
    return None
