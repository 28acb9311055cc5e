"""AdamW as LLaMA used it."""

from __future__ import annotations

import torch
from torch import nn

FUSED = ("cpu", "cuda")  # one kernel for all weights: a third of the time of the loop over them


def make_optimizer(
    model: nn.Module,
    peak_lr: float,
    *,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
) -> torch.optim.AdamW:
    """AdamW over the weights that train, with decay on matrices only (LLaMA, section 2.3).

    Whatever has two dimensions or more decays, the embedding and the output among them; the
    weights of the norms do not: pulling a scale towards 0 would undo its purpose. Frozen weights
    (`requires_grad` False) are left out, and tied ones count once.
    """
    weights = [w for w in model.parameters() if w.requires_grad]
    groups = [
        {"params": [w for w in weights if w.ndim >= 2], "weight_decay": weight_decay},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = all(w.device.type in FUSED for w in weights)
    return torch.optim.AdamW(groups, lr=peak_lr, betas=betas, eps=eps, fused=fused)
