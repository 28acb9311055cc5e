"""The keys and values of the tokens already read, so that a new token costs one token's work."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llama_course.config import ModelConfig

# The position of a slot that holds no token: later than every query, so no causal mask shows it.
EMPTY = torch.iinfo(torch.int64).max


class KVCache:
    """Room for `max_seq_len` tokens in each of `batch_size` rows.

    Keys are stored after RoPE. `lengths[b]` tokens of row b are live; `positions` holds each
    slot's position, `EMPTY` where there is none. One forward of the model first calls `reserve`,
    then `append` once a layer, then `advance`: a forward that fails half-way changes no length.

    Empty slots are zeros, not chance: a masked value still meets a weight of 0, and 0 * inf is no
    number. No gradient flows through a cache. Memory in bytes:
    `2 * n_layers * batch_size * n_kv_heads * max_seq_len * head_dim * itemsize`.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int = 1,
        max_seq_len: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.max_seq_len = max_seq_len or config.max_seq_len
        self.batch_size = batch_size
        shape = (batch_size, config.n_kv_heads, self.max_seq_len, config.head_dim)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.n_layers)]
        self.values = [torch.zeros_like(k) for k in self.keys]
        self.positions = torch.full((batch_size, self.max_seq_len), EMPTY, device=device)
        self.lengths = [0] * batch_size

    @property
    def length(self) -> int:
        """The number of live tokens in the longest row."""
        return max(self.lengths)

    @property
    def nbytes(self) -> int:
        """The bytes that keys and values take."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))

    def next_positions(self, seq: int) -> Int[Tensor, "*batch seq"]:
        """The positions of `seq` new tokens: (seq,) where all rows are equally long."""
        steps = torch.arange(seq, device=self.positions.device)
        if self._even:
            return steps + self.lengths[0]
        return steps + torch.tensor(self.lengths, device=steps.device)[:, None]

    def reserve(
        self, positions: Int[Tensor, "*batch seq"], new: list[int] | None = None
    ) -> Int[Tensor, "batch keys"]:
        """Take slots for new tokens at `positions` and return the positions of all keys in sight.

        `new[b]` of row b's tokens are real (all of them when None); padding gets no slot. Raises
        `ValueError` where a row would grow beyond `max_seq_len`.
        """
        seq = positions.shape[-1]
        self._new = [seq] * self.batch_size if new is None else list(new)
        self._rows = self._slots = None
        grown = max(a + b for a, b in zip(self.lengths, self._new, strict=True))
        if grown > self.max_seq_len:
            raise ValueError(
                f"the cache holds {self.max_seq_len} tokens, and {grown} are needed; "
                "make it with a larger max_seq_len"
            )
        self._live = grown
        positions = positions.expand(self.batch_size, seq)
        if self._even and len(set(self._new)) == 1 and self._new[0] == seq:
            start = self.lengths[0]
            self.positions[:, start : start + seq] = positions
        else:
            device = self.positions.device
            real = (
                torch.arange(seq, device=device) < torch.tensor(self._new, device=device)[:, None]
            )
            self._rows, self._columns = real.nonzero(as_tuple=True)
            starts = torch.tensor(self.lengths, device=device)
            # Slots past a row's end may remember a forward that failed half-way.
            past = torch.arange(self.max_seq_len, device=device) >= starts[:, None]
            self.positions.masked_fill_(past, EMPTY)
            self._slots = starts[self._rows] + self._columns
            self.positions[self._rows, self._slots] = positions[self._rows, self._columns]
        return self.positions[:, :grown]

    def append(
        self,
        layer: int,
        k: Float[Tensor, "batch kv_heads seq head_dim"],
        v: Float[Tensor, "batch kv_heads seq head_dim"],
    ) -> tuple[
        Float[Tensor, "batch kv_heads keys head_dim"], Float[Tensor, "batch kv_heads keys head_dim"]
    ]:
        """Store one layer's new keys and values in the reserved slots; return all live ones.

        Only the live part is returned: on a processor, attention over empty slots costs as much
        as over full ones.
        """
        keys, values = self.keys[layer], self.values[layer]
        k, v = k.detach(), v.detach()
        if self._slots is None:
            start, stop = self.lengths[0], self._live
            keys[:, :, start:stop] = k
            values[:, :, start:stop] = v
        else:
            # Advanced indices around a slice put the token axis first: (tokens, heads, head_dim).
            keys[self._rows, :, self._slots] = k[self._rows, :, self._columns].to(keys.dtype)
            values[self._rows, :, self._slots] = v[self._rows, :, self._columns].to(values.dtype)
        return keys[:, :, : self._live], values[:, :, : self._live]

    def advance(self) -> None:
        """Count the reserved tokens as live: the last step of a forward."""
        self.lengths = [a + b for a, b in zip(self.lengths, self._new, strict=True)]

    def reset(self) -> None:
        """Forget all tokens; the memory stays."""
        self.lengths = [0] * self.batch_size
        self.positions.fill_(EMPTY)

    @property
    def _even(self) -> bool:
        return len(set(self.lengths)) == 1
