"""The cache of lesson 07: one layer's keys and values, written to be read.

`KVCache` is the one that the library's own model uses: it serves all layers, and takes shorter
ways to the same numbers.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Cache:
    """Keys and values of one layer, for the tokens already read: room for `max_len` in each row.

    Keys are stored as they will be used, after RoPE. Rows may be of unequal length: `length`
    (batch,), int64, counts the tokens that each row holds. Memory in bytes:
    `2 * batch * kv_heads * max_len * head_dim * itemsize`.
    """

    length: Int[Tensor, " batch"]

    def __init__(
        self,
        batch: int,
        kv_heads: int,
        max_len: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.max_len = max_len
        # Zeros, not chance: a masked value still meets a weight of 0, and 0 * inf is no number.
        self.keys = torch.zeros(batch, kv_heads, max_len, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = torch.zeros(batch, dtype=torch.int64, device=device)

    def append(
        self,
        k: Float[Tensor, "batch kv_heads seq head_dim"],
        v: Float[Tensor, "batch kv_heads seq head_dim"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> None:
        """Store new tokens behind those that are there, each row behind its own.

        `lengths[b]` of row b's tokens are real, all of them where it is None; what is right of
        them is padding and is not stored. k and v are copied, cast to the cache's dtype, and no
        gradient flows through them. Raises `ValueError`, and stores nothing, where a row would
        grow beyond `max_len`.
        """
        batch, kv_heads, _, head_dim = self.keys.shape
        expected = (batch, kv_heads, k.shape[-2], head_dim)
        if k.shape != expected or v.shape != expected:
            raise ValueError(
                f"k and v must be {expected} for this cache, found {tuple(k.shape)} and "
                f"{tuple(v.shape)}"
            )
        new = torch.full_like(self.length, k.shape[-2]) if lengths is None else lengths
        after = self.length + new.to(self.length.device)
        ends = after.tolist()
        if max(ends) > self.max_len:
            raise ValueError(
                f"the cache holds {self.max_len} tokens a row, and {max(ends)} are needed; make "
                "it with a larger max_len"
            )
        for row, (start, end) in enumerate(zip(self.length.tolist(), ends, strict=True)):
            self.keys[row, :, start:end] = k[row, :, : end - start].detach()
            self.values[row, :, start:end] = v[row, :, : end - start].detach()
        self.length = after  # a new tensor: whoever has read the old one keeps its numbers

    def read(
        self,
    ) -> tuple[
        Float[Tensor, "batch kv_heads longest head_dim"],
        Float[Tensor, "batch kv_heads longest head_dim"],
    ]:
        """All keys and values, as far as the longest row goes; zeros where a row is shorter.

        They are views of what is kept: use them before the next append.
        """
        longest = int(self.length.max())
        return self.keys[:, :, :longest], self.values[:, :, :longest]


def decode_positions(length: Int[Tensor, " batch"], n_new: int) -> Int[Tensor, "batch n_new"]:
    """The positions of each row's next `n_new` tokens: they go on from its own length."""
    return length[:, None] + torch.arange(n_new, device=length.device)
