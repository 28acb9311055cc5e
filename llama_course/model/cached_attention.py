"""Attention of new tokens to everything read so far: lesson 07's three parts together."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llama_course.model.attention import attention, causal_mask, repeat_kv
from llama_course.model.plain_cache import Cache, decode_positions
from llama_course.model.rope import apply_rope


def cached_attention(
    q: Float[Tensor, "batch seq heads head_dim"],
    k: Float[Tensor, "batch seq kv_heads head_dim"],
    v: Float[Tensor, "batch seq kv_heads head_dim"],
    cos: Float[Tensor, "*batch seq half"],
    sin: Float[Tensor, "*batch seq half"],
    cache: Cache,
    lengths: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch seq heads head_dim"]:
    """Turn q and k, store k and v, and attend to all that the cache then holds.

    One path for prefill, chunked prefill, decode and rows of unequal length: the mask compares
    positions. `cos` and `sin` belong to the new tokens' positions; `lengths` are the real new
    tokens of each row, as in `Cache.append`. Results right of them mean nothing.
    """
    seq = q.shape[1]
    q = apply_rope(q, cos, sin).transpose(1, 2)  # (batch, heads, seq, head_dim)
    k = apply_rope(k, cos, sin).transpose(1, 2)  # (batch, kv_heads, seq, head_dim)
    positions = decode_positions(cache.length, seq)  # before append moves the length
    cache.append(k, v.transpose(1, 2), lengths)
    keys, values = cache.read()  # (batch, kv_heads, longest, head_dim)
    slots = torch.arange(keys.shape[2], device=keys.device)
    n = q.shape[1] // keys.shape[1]
    mask = causal_mask(positions, slots)  # (batch, seq, longest)
    out = attention(q, repeat_kv(keys, n), repeat_kv(values, n), mask)
    return out.transpose(1, 2)
