"""What training minimises: the surprise, in nats, at each next token."""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

IGNORE = -100  # a target that does not count; torch's own default


def cross_entropy(
    logits: Float[Tensor, "*batch vocab"],
    targets: Int[Tensor, "*batch"],
    ignore_index: int = IGNORE,
) -> Float[Tensor, ""]:
    """The mean of `-log softmax(logits)[target]` over the real targets, in nats, in float32.

    `log sum exp` is taken after subtracting the largest logit, which changes nothing in exact
    arithmetic and keeps `exp` from overflowing. Where a target is `ignore_index` nothing counts,
    neither above nor below the line. Without any real target the mean is nan, as torch's is.
    """
    logits = logits.float()
    real = targets != ignore_index
    largest = logits.detach().amax(dim=-1, keepdim=True)
    shifted = logits - largest
    log_total = shifted.exp().sum(dim=-1).log()
    chosen = shifted.gather(-1, targets.where(real, 0)[..., None]).squeeze(-1)
    nats = (log_total - chosen).where(real, 0.0)
    return nats.sum() / real.sum()


def next_token_loss(
    model: nn.Module,
    tokens: Int[Tensor, "batch seq"],
    targets: Int[Tensor, "batch seq"] | None = None,
    **forward: Any,
) -> Float[Tensor, ""]:
    """The mean cross-entropy of `model`'s next-token predictions, in nats per token.

    With `targets` given, `targets[:, i]` is what should follow `tokens[:, i]`, and -100 does not
    count. Without, the tokens are their own targets, one further on: the last one is only a
    target and the first one only an input. `forward` is passed on to the model (`documents=...`).
    """
    if targets is None:
        tokens, targets = tokens[:, :-1], tokens[:, 1:]
    return cross_entropy(model(tokens, **forward), targets)


def perplexity(nats: float) -> float:
    """`exp` of the mean nats per token: the number of tokens between which the model wavers."""
    return math.exp(nats) if nats < 700 else math.inf  # where a float ends


def bits_per_byte(nats: float, n_tokens: int, n_bytes: int) -> float:
    """The mean loss in bits per byte of text, which tokenizers of any vocabulary share.

    `nats` is the mean per token, over `n_tokens` tokens that stand for `n_bytes` bytes of UTF-8.
    """
    if n_bytes < 1:
        raise ValueError(f"n_bytes must be at least 1, found {n_bytes}")
    return nats * n_tokens / math.log(2) / n_bytes
