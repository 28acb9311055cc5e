"""Rotary position embedding: each pair of numbers in a query or key is turned by its position."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llama_course.config import RopeScaling


def rope_frequencies(
    head_dim: int,
    theta: float | int,
    scaling: RopeScaling | None = None,
    *,
    length: int = 0,
    device: torch.device | str | None = None,
) -> tuple[Float[Tensor, " half"], float]:
    """The angle in radians by which one position turns each pair, and a factor for cos and sin.

    Pair `i` turns by `theta ** (-2i / head_dim)` (Su et al. 2021, arXiv 2104.09864, section
    3.2.2). `scaling` stretches the angles for longer contexts; `length` is the number of
    positions of this call, which only dynamic scaling looks at. The factor is 1 but for YaRN.
    """
    if scaling is not None and scaling.type == "dynamic":
        theta = _dynamic_theta(head_dim, theta, scaling, length)
    pair = torch.arange(0, head_dim, 2, dtype=torch.int64, device=device).float()
    frequencies = 1.0 / theta ** (pair / head_dim)
    if scaling is None or scaling.type == "dynamic":
        return frequencies, 1.0
    if scaling.type == "linear":
        return frequencies / scaling.factor, 1.0
    if scaling.type == "llama3":
        return _llama3(frequencies, scaling), 1.0
    return _yarn(frequencies, head_dim, theta, scaling)


def rope_angles(
    positions: Int[Tensor, "*batch seq"],
    head_dim: int,
    theta: float | int,
    scaling: RopeScaling | None = None,
) -> tuple[Float[Tensor, "*batch seq half"], Float[Tensor, "*batch seq half"]]:
    """Cosine and sine of every position's angles, in float32: at position p, pair i, of p * f_i.

    Always float32: in bfloat16 positions above 256 are no longer whole numbers apart.
    """
    length = 0
    if scaling is not None and scaling.type == "dynamic" and positions.numel():
        length = int(positions.max()) + 1
    frequencies, factor = rope_frequencies(
        head_dim, theta, scaling, length=length, device=positions.device
    )
    angles = positions[..., None].float() * frequencies
    return angles.cos() * factor, angles.sin() * factor


def apply_rope(
    x: Float[Tensor, "batch seq heads head_dim"],
    cos: Float[Tensor, "*batch seq half"],
    sin: Float[Tensor, "*batch seq half"],
) -> Float[Tensor, "batch seq heads head_dim"]:
    """Turn the pairs (x0, x1), (x2, x3), ... of every head: Meta's interleaved layout.

    `cos` and `sin` are (seq, head_dim / 2), or (batch, seq, head_dim / 2) where rows stand at
    different positions. The turn is made in float32 and cast back to x's dtype.
    """
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)  # one angle for all heads
    even, odd = x.to(cos.dtype).unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


def _dynamic_theta(head_dim: int, theta: float | int, scaling: RopeScaling, length: int) -> float:
    """Dynamic NTK: a larger base once the call is longer than the trained length."""
    trained = scaling.original_max_seq_len
    length = max(length, trained)
    stretch = scaling.factor * length / trained - (scaling.factor - 1)
    return theta * stretch ** (head_dim / (head_dim - 2))


def _llama3(frequencies: Float[Tensor, " half"], scaling: RopeScaling) -> Float[Tensor, " half"]:
    """Llama 3.1: short waves stay, long waves are slowed by the factor, a blend in between."""
    trained, low, high = (
        scaling.original_max_seq_len,
        scaling.low_freq_factor,
        scaling.high_freq_factor,
    )
    turns = trained * frequencies / (2 * math.pi)  # full turns within the trained length
    keep = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return keep * frequencies + (1 - keep) * frequencies / scaling.factor


def _yarn(
    frequencies: Float[Tensor, " half"], head_dim: int, theta: float | int, scaling: RopeScaling
) -> tuple[Float[Tensor, " half"], float]:
    """YaRN (Peng et al. 2023, arXiv 2309.00071, section 3): a ramp over the pairs' indices."""

    def pair_with(turns: float) -> float:
        """The (fractional) index of the pair that makes so many turns in the trained length."""
        trained = scaling.original_max_seq_len
        return head_dim * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = pair_with(scaling.beta_fast), pair_with(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, head_dim - 1)
    last = last + 0.001 if first == last else last
    index = torch.arange(head_dim // 2, device=frequencies.device, dtype=torch.float32)
    slow = ((index - first) / (last - first)).clamp(0.0, 1.0)
    stretched = slow * frequencies / scaling.factor + (1 - slow) * frequencies

    def temperature(mscale: float) -> float:
        return 0.1 * mscale * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0

    if scaling.attention_factor is not None:
        factor = scaling.attention_factor
    elif scaling.mscale and scaling.mscale_all_dim:
        factor = temperature(scaling.mscale) / temperature(scaling.mscale_all_dim)
    else:
        factor = temperature(1.0)
    return stretched, factor
