"""How long a step will take, so that a number of steps can be chosen for the time there is."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from llama_course.training.config import TrainConfig
from llama_course.training.evaluate import autocast
from llama_course.training.loss import next_token_loss


def seconds_per_step(model: nn.Module, config: TrainConfig, repeats: int = 3) -> float:
    """The median time of forward and backward over one step's tokens, after one to warm up.

    The weights stay as they are. The optimizer's own time is left out: it is a few percent at
    most. A schedule needs its number of steps beforehand, and a run whose steps depend on the
    clock cannot be repeated: so measure first, choose `steps`, and then train.
    """
    weight = next(model.parameters())
    vocabulary: int = model.config.vocab_size  # type: ignore[union-attr, assignment]
    shape = (config.batch_size // config.accumulation, config.seq_len)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, vocabulary, shape, generator=generator).to(weight.device)
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for _ in range(config.accumulation):
            with autocast(weight.device, config.dtype):
                loss = next_token_loss(model, tokens, tokens)
            loss.backward()
        loss.item()  # waits for a GPU to be done
        times.append(time.perf_counter() - start)
    model.zero_grad(set_to_none=True)
    return statistics.median(times[1:])
