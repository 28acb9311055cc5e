"""The loss on text that was held back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from llama_course.data.batches import Tokens, eval_windows
from llama_course.training.loss import next_token_loss


class Validation(NamedTuple):
    """A mean loss in nats per token, and the number of tokens that it is the mean of."""

    loss: float
    tokens: int


@torch.no_grad()
def evaluate(
    model: nn.Module,
    tokens: Tokens,
    *,
    seq_len: int,
    batch_size: int = 1,
    dtype: str = "float32",
    count: int | None = None,
) -> Validation:
    """The mean next-token loss of `model` on `tokens`; every token but the first is predicted once.

    Windows of `seq_len` tokens stand side by side, so a token early in its window is predicted
    from little: a loss at `seq_len` 128 is a little higher than one at 1024. `count` takes that
    many evenly spread windows instead of all. `dtype` "bfloat16" computes under autocast.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    nats, total = 0.0, 0
    try:
        for inputs, targets in eval_windows(tokens, seq_len, batch_size, count):
            with autocast(device, dtype):
                loss = next_token_loss(model, inputs.to(device), targets.to(device))
            nats += loss.item() * targets.numel()  # summed in float64
            total += targets.numel()
    finally:
        model.train(was_training)
    return Validation(nats / total, total)


def autocast(device: torch.device, dtype: str) -> torch.autocast:
    """Products in bfloat16 where `dtype` says so; float32 weights stay as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16")
