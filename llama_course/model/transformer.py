"""The whole model: embed, run the blocks, normalise, and score every token of the vocabulary."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llama_course.config import ModelConfig
from llama_course.model import rope
from llama_course.model.attention import Attention
from llama_course.model.components import Components, attention_of, swiglu_of
from llama_course.model.kv_cache import KVCache
from llama_course.model.rmsnorm import RMSNorm
from llama_course.model.swiglu import FeedForward


class TransformerBlock(nn.Module):
    """Attention, then the feed-forward layer, each added to the stream that it read normed."""

    def __init__(self, config: ModelConfig, components: Components) -> None:
        super().__init__()
        self.attention = Attention(config, attention_of(components), components.apply_rope)
        self.feed_forward = FeedForward(config.dim, config.hidden_dim, swiglu_of(components))
        self.attention_norm = RMSNorm(config.dim, config.norm_eps, components.rms_norm)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps, components.rms_norm)

    def forward(
        self,
        x: Float[Tensor, "batch seq dim"],
        cos: Float[Tensor, "*batch seq half"],
        sin: Float[Tensor, "*batch seq half"],
        mask: Bool[Tensor, "..."] | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch seq dim"]:
        x = x + self.attention(self.attention_norm(x), cos, sin, mask, cache, layer)
        return x + self.feed_forward(self.ffn_norm(x))


class Llama(nn.Module):
    """LLaMA, from a config: the toy of the first lesson and the 65B model alike.

    Under `torch.device("meta")` nothing is allocated. A model with tied embeddings has no
    `output` weight: the embedding is used twice and stored once.
    """

    def __init__(self, config: ModelConfig, components: Components | None = None) -> None:
        super().__init__()
        self.config = config
        self.components = components or Components()
        if config.rope_scaling and self.components.rope_angles is not rope.rope_angles:
            warnings.warn(
                f"This model's RoPE scaling ({config.rope_scaling.type}) is more than a function "
                "rope_angles(positions, head_dim, theta) can say: the library's own is used.",
                stacklevel=2,
            )
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(
            TransformerBlock(config, self.components) for _ in range(config.n_layers)
        )
        self.norm = RMSNorm(config.dim, config.norm_eps, self.components.rms_norm)
        tied = config.tie_embeddings
        self.output = None if tied else nn.Linear(config.dim, config.vocab_size, bias=False)
        self.init_weights()

    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights: normal with deviation 0.02, norms one.

        What is added to the stream (wo, w2) is drawn smaller by `sqrt(2 * n_layers)`, so that
        the stream's variance does not grow with depth (GPT-2's report, section 2.3).
        """
        for name, weight in self.named_parameters():
            if weight.is_meta:
                continue  # no numbers to draw; torch would take seconds to find that out
            if weight.ndim < 2:
                nn.init.ones_(weight)
                continue
            deeper = name.endswith(("wo.weight", "w2.weight"))
            scale = (2 * self.config.n_layers) ** -0.5 if deeper else 1.0
            nn.init.normal_(weight, std=0.02 * scale, generator=generator)

    def new_cache(self, batch_size: int = 1, max_seq_len: int | None = None) -> KVCache:
        """An empty cache for this model, in its weights' dtype and on their device."""
        weight = next(self.parameters())
        return KVCache(self.config, batch_size, max_seq_len, weight.dtype, weight.device)

    def forward(
        self,
        tokens: Int[Tensor, "batch seq"],
        *,
        cache: KVCache | None = None,
        lengths: Int[Tensor, " batch"] | list[int] | None = None,
        documents: Int[Tensor, "batch seq"] | None = None,
        positions: Int[Tensor, "*batch seq"] | None = None,
        logits: str = "all",
    ) -> Float[Tensor, "batch out vocab"]:
        """Scores (natural-log, unnormalised) of every next token, in float32.

        One path serves training, prefill in one piece or in chunks, and decode.

        `cache` keeps what was read; its rows advance by `lengths`, else by seq.
        `lengths` are the real new tokens of each row; what is right of them is padding, is never
        cached, and scores nothing of meaning.
        `documents` packs several texts in a row: only equal numbers see each other, positions
        restart in each, -1 is padding. It does not go together with a cache.
        `positions` (seq,) or (batch, seq) replaces the counting from 0 or from the cache.
        `logits="last"` scores each row's last real token only: (batch, 1, vocab).
        """
        if documents is not None and (cache is not None or lengths is not None):
            raise ValueError("documents cannot be given together with a cache or lengths")
        if logits not in ("all", "last"):
            raise ValueError(f'logits must be "all" or "last", found {logits!r}')
        new = _checked_lengths(lengths, tokens, logits)
        if cache is not None and cache.batch_size != tokens.shape[0]:
            raise ValueError(
                f"the cache has {cache.batch_size} rows and the tokens have {tokens.shape[0]}"
            )
        positions, mask = self._positions_and_mask(tokens, cache, new, documents, positions)
        if mask is not None and mask.ndim == 3:
            mask = mask[:, None]  # (batch, 1, q_len, k_len): the same for every head
        cos, sin = self._angles(positions)

        x = self.tok_embeddings(tokens)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, mask, cache, i)
        if cache is not None:
            cache.advance()
        if logits == "last":
            x = _last(x, new, documents)
        x = self.norm(x)
        scores = F.linear(x, self.tok_embeddings.weight) if self.output is None else self.output(x)
        return scores.float()

    def _positions_and_mask(
        self,
        tokens: Int[Tensor, "batch seq"],
        cache: KVCache | None,
        new: list[int] | None,
        documents: Int[Tensor, "batch seq"] | None,
        positions: Int[Tensor, "*batch seq"] | None,
    ) -> tuple[Int[Tensor, "*batch seq"], Bool[Tensor, "..."] | None]:
        """Where each new token stands, and what it may see; None is the plain causal triangle."""
        seq, device = tokens.shape[1], tokens.device
        causal = self.components.causal_mask
        plain = positions is None and not self.components.plain_mask
        steps = torch.arange(seq, device=device)
        if documents is not None:
            seen = causal(steps, steps) & (documents[:, :, None] == documents[:, None, :])
            seen = seen & (documents >= 0)[:, :, None]
            if positions is None:
                # A token's position is the number of earlier tokens of its own document.
                earlier = (documents[:, :, None] == documents[:, None, :]).tril(-1)
                positions = earlier.sum(-1)
            return positions, seen
        if cache is None:
            if positions is None:
                positions = steps
            if plain:  # right padding is later than every real token: the triangle hides it
                return positions, None
            return positions, causal(positions, positions)
        if positions is None:
            positions = cache.next_positions(seq)
        even = len(set(cache.lengths)) == 1
        keys = cache.reserve(positions, new)
        if plain and even and new is None and (seq == 1 or cache.length == 0):
            return positions, None
        return positions, causal(positions, keys)

    def _angles(self, positions: Int[Tensor, "*batch seq"]) -> tuple[Tensor, Tensor]:
        """Cosine and sine, once for all layers. Only the library's function knows scalings."""
        config = self.config
        if config.rope_scaling is not None:
            return rope.rope_angles(
                positions, config.head_dim, config.rope_theta, config.rope_scaling
            )
        return self.components.rope_angles(positions, config.head_dim, config.rope_theta)


def _checked_lengths(
    lengths: Tensor | list[int] | None, tokens: Tensor, logits: str
) -> list[int] | None:
    if lengths is None:
        return None
    new = lengths.tolist() if isinstance(lengths, Tensor) else [int(n) for n in lengths]
    batch, seq = tokens.shape
    if len(new) != batch or any(n < 0 or n > seq for n in new):
        raise ValueError(
            f"lengths must give for each of {batch} rows a number from 0 to {seq}, found {new}"
        )
    return new


def _last(x: Tensor, new: list[int] | None, documents: Tensor | None) -> Tensor:
    """Each row's last real token: (batch, 1, dim)."""
    if documents is not None:
        steps = torch.arange(x.shape[1], device=x.device)
        last = torch.where(documents >= 0, steps, 0).amax(dim=-1)
    elif new is not None:
        last = torch.tensor([max(n - 1, 0) for n in new], device=x.device)
    else:
        return x[:, -1:]
    return x[torch.arange(x.shape[0], device=x.device), last][:, None]
