"""From scores to the next token."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llama_course.errors import CourseError


def sample(
    logits: Float[Tensor, "batch vocab"],
    temperature: float | int = 1.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, " batch"]:
    """Draw one token a row from `softmax(logits / temperature)`, with the tail cut off.

    `temperature=0` takes the highest score. `top_k` keeps the k likeliest tokens. `top_p` keeps
    the smallest set of likeliest tokens whose probability together reaches p (nucleus sampling,
    Holtzman et al. 2019, arXiv 1904.09751, section 3.1). The order is temperature, top_k, top_p;
    what is left is renormalised.
    """
    check_sampling(temperature, top_k, top_p)
    best = logits.amax(dim=-1)  # -inf bars a token; no number, or +inf, is a fault
    if not torch.isfinite(best).all() or torch.isnan(logits).any():
        raise CourseError(
            "The model's scores are not all finite numbers, so no token can be drawn; "
            "if it runs in float16, load it in bfloat16 or float32."
        )
    if temperature == 0:
        return logits.argmax(dim=-1)
    # The largest score becomes 0 first, so that a tiny temperature cannot overflow.
    scores = (logits.float() - logits.float().amax(dim=-1, keepdim=True)) / temperature
    k = min(top_k or scores.shape[-1], scores.shape[-1])
    scores, tokens = scores.topk(k, dim=-1)  # sorted, the likeliest first
    probabilities = scores.softmax(dim=-1)
    if top_p is not None:
        before = probabilities.cumsum(dim=-1) - probabilities
        # A token stays while those before it have not reached p: the first always stays.
        outside = before >= top_p
        outside[..., 0] = False
        probabilities = probabilities.masked_fill(outside, 0.0)
    drawn = torch.multinomial(probabilities, 1, generator=generator)  # it renormalises
    return tokens.gather(-1, drawn).squeeze(-1)


def check_sampling(temperature: float | int, top_k: int | None, top_p: float | int | None) -> None:
    """Raise `CourseError` for settings that mean nothing."""
    if not 0 <= temperature < float("inf"):
        raise CourseError(f"temperature must be 0 or above, found {temperature}.")
    if top_k is not None and top_k < 1:
        raise CourseError(f"top_k must be at least 1, found {top_k}; leave it out to keep all.")
    if top_p is not None and not 0 < top_p <= 1:
        raise CourseError(f"top_p must be above 0 and at most 1, found {top_p}.")
