"""Right ways that round more often than the library does, for the room of low precision.

Meta's own code rounds the scores to the weights' dtype before it takes their softmax in float32;
where scores are large, that moves the result farther than any other rounding.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from llama_course.model import Components


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention with scores and finished weights in q's dtype."""
    mask = mask[:, None] if mask.ndim == 3 else mask
    scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).float()
    weights = scores.masked_fill(~mask, float("-inf")).softmax(-1).nan_to_num(0.0)
    return weights.to(q.dtype) @ v


def swiglu(x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    """SwiGLU whose sigmoid is rounded before it meets the gate."""
    gate = F.linear(x, w1)
    return F.linear(gate * torch.sigmoid(gate) * F.linear(x, w3), w2)


ROUNDED = {"attention": attention, "swiglu": swiglu}


def rounding(functions: Components) -> Components:
    """The same functions, with these in their places."""
    return replace(functions, attention=attention, swiglu=swiglu)
