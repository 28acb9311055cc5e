"""Two configs: the fields that differ, and what the first of them does to a model."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from llama_course.checkpoints.names import EMBEDDING
from llama_course.model import rope_angles
from llama_course.parity.report import Difference
from llama_course.parity.sides import Side
from llama_course.parity.trace import FAR

SHAPES = ("dim", "n_layers", "n_heads", "n_kv_heads", "head_dim", "hidden_dim", "vocab_size")
_MEANS = {
    "norm_eps": "LLaMA 7B to 33B were trained with 1e-6, 65B and Llama 2 with 1e-5; llama2.c's "
    "format cannot say it.",
    "rope_theta": "LLaMA 1 and 2 use 10,000, Code Llama 1,000,000, Llama 3 500,000; llama2.c's "
    "format cannot say it.",
    "rope_scaling": "a scaling that is not read turns every pair by other angles in long texts.",
    "n_kv_heads": "a file without n_kv_heads means as many key/value heads as heads.",
    "vocab_size": "rows are added for special tokens, or left out; the other sizes may be right.",
}


def compare_configs(a: Side, b: Side) -> tuple[list[Difference], list[str]]:
    """The fields that change what is computed, and sentences on those that do not."""
    found: list[Difference] = []
    notes: list[str] = []
    for name in (*SHAPES, "norm_eps", "rope_theta", "rope_scaling"):
        one, two = getattr(a.config, name), getattr(b.config, name)
        if one == two:
            continue
        numbers = [f"{v:.10g}" if isinstance(v, int | float) else repr(v) for v in (one, two)]
        if name == "norm_eps" and torch.tensor(one).equal(torch.tensor(two)):
            notes.append(f"norm_eps is {' in A and '.join(numbers)} in B, one number in float32.")
            continue
        words = f"A has {numbers[0]}, B has {numbers[1]}"
        means = (_MEANS[name],) if name in _MEANS else ()
        found.append(Difference(f"config {name}", (-1, len(found)), words, meanings=means))
    for name in ("max_seq_len", "tie_embeddings"):
        one, two = getattr(a.config, name), getattr(b.config, name)
        if one != two:
            notes.append(f"{name} is {one} in A and {two} in B, which changes no formula.")
    return found, notes


def config_effect(a: Side, b: Side, found: Difference, rows: Tensor) -> Difference:
    """What another epsilon or theta does to the first thing that is computed with it."""
    if found.component == "config norm_eps":
        x = F.embedding(rows, a.weight(EMBEDDING)).float()
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
    words = f"{found.words}, which moves {what}"
    return dataclasses.replace(found, words=words, max_abs=off, relative=share)
