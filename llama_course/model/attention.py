"""Causal multi-head attention, with fewer key/value heads than heads where the config says so."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llama_course.config import ModelConfig
from llama_course.model.kv_cache import KVCache
from llama_course.model.rope import apply_rope


def causal_mask(
    q_positions: Int[Tensor, "*#batch q_len"], k_positions: Int[Tensor, "*#batch k_len"]
) -> Bool[Tensor, "*#batch q_len k_len"]:
    """True where a query may look: at keys of its own position and of earlier ones."""
    return k_positions[..., None, :] <= q_positions[..., :, None]


def repeat_kv(
    x: Float[Tensor, "batch kv_heads seq head_dim"], n: int
) -> Float[Tensor, "batch heads seq head_dim"]:
    """Give each key/value head to `n` neighbouring heads: 0, 0, 1, 1, ... for n = 2.

    Grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245, section 2.2).
    """
    return x if n == 1 else x.repeat_interleave(n, dim=1)


def attention(
    q: Float[Tensor, "batch heads q_len head_dim"],
    k: Float[Tensor, "batch kv_heads k_len head_dim"],
    v: Float[Tensor, "batch kv_heads k_len head_dim"],
    mask: Bool[Tensor, "*#mask_batch q_len k_len"] | None = None,
) -> Float[Tensor, "batch heads q_len head_dim"]:
    """`softmax(q k^T / sqrt(head_dim)) v` over the keys that `mask` shows (True = may look).

    `mask` is (q_len, k_len), (batch, q_len, k_len) or (batch, 1, q_len, k_len). None means causal
    with the last query at the last key. k and v may have fewer heads than q. A query that may
    look at nothing gets zeros. (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.1.)
    """
    q_len, k_len = q.shape[-2], k.shape[-2]
    grouped = q.shape[1] != k.shape[1]
    if mask is None:
        if q_len == 1:  # the newest token sees everything
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=grouped)
        if q_len == k_len:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        # torch's own is_causal would align the *first* query with the first key.
        keys = torch.arange(k_len, device=q.device)
        queries = torch.arange(k_len - q_len, k_len, device=q.device)
        mask = causal_mask(queries, keys)
    if mask.ndim == 3:
        mask = mask[:, None]
    sees = mask.any(dim=-1, keepdim=True)
    # A row of the softmax with nothing in it is no number, and so is its gradient: such a row
    # looks at everything instead, and the result is thrown away.
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask | ~sees, enable_gqa=grouped)
    return out.masked_fill(~sees, 0.0)


class Attention(nn.Module):
    """Project to queries, keys and values; turn queries and keys; attend; project back."""

    def __init__(
        self,
        config: ModelConfig,
        function: Callable[..., Tensor] = attention,
        rotate: Callable[[Tensor, Tensor, Tensor], Tensor] = apply_rope,
    ) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.function = function
        self.rotate = rotate
        q_width, kv_width = config.n_heads * self.head_dim, config.n_kv_heads * self.head_dim
        self.wq = nn.Linear(config.dim, q_width, bias=False)
        self.wk = nn.Linear(config.dim, kv_width, bias=False)
        self.wv = nn.Linear(config.dim, kv_width, bias=False)
        self.wo = nn.Linear(q_width, config.dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch seq dim"],
        cos: Float[Tensor, "*batch seq half"],
        sin: Float[Tensor, "*batch seq half"],
        mask: Bool[Tensor, "..."] | None,
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch seq dim"]:
        heads = (-1, self.head_dim)
        q = self.wq(x).unflatten(-1, heads)  # (batch, seq, heads, head_dim)
        k = self.wk(x).unflatten(-1, heads)  # (batch, seq, kv_heads, head_dim)
        v = self.wv(x).unflatten(-1, heads)
        q = self.rotate(q, cos, sin).transpose(1, 2)  # (batch, heads, seq, head_dim)
        k = self.rotate(k, cos, sin).transpose(1, 2)
        v = v.transpose(1, 2)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        out = self.function(q, k, v, mask)
        return self.wo(out.transpose(1, 2).flatten(-2))
