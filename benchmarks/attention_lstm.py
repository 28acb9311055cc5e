"""One attention layer beside one LSTM layer, of equal width, over texts of growing length.

    python benchmarks/attention_lstm.py

Both read (1, length, 512) in float32 on the processor. Attention is the library's layer: 8 heads,
the four projections, RoPE, the causal mask. The LSTM is `torch.nn.LSTM`. Two measurements for each
length: a forward alone, as in use, and a forward with its backward, as in training.

One thread, and the process's own processor time, so that what else the machine does counts little;
the least of several runs. One thread is the fairest case for the LSTM, whose steps cannot run side
by side: it shows what the two cost in work, and nothing of what a parallel machine saves.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import record
import torch
from torch import Tensor, nn

from llama_course.config import ModelConfig
from llama_course.model.attention import Attention
from llama_course.model.rope import rope_angles

WIDTH, HEADS = 512, 8
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
RUNS = 5


class Layer(nn.Module):
    """An attention layer that makes its own angles, so that it is called as the LSTM is."""

    def __init__(self) -> None:
        super().__init__()
        config = ModelConfig(dim=WIDTH, n_layers=1, n_heads=HEADS, vocab_size=8)
        self.attention = Attention(config)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        cos, sin = rope_angles(torch.arange(x.shape[1]), WIDTH // HEADS, 10_000.0)
        return self.attention(x, cos, sin, None), None


def forward(layer: nn.Module, x: Tensor) -> None:
    """A forward alone."""
    with torch.no_grad():
        layer(x)


def both(layer: nn.Module, x: Tensor) -> None:
    """A forward and its backward, to the weights and to x."""
    x = x.clone().requires_grad_()
    layer(x)[0].sum().backward()


def least(run: Callable[[nn.Module, Tensor], None], layer: nn.Module, x: Tensor) -> float:
    """Processor seconds of the fastest of several runs."""
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        run(layer, x)
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layers = {"attention": Layer(), "lstm": nn.LSTM(WIDTH, WIDTH, batch_first=True)}
    measured: dict[str, object] = {
        "width": WIDTH,
        "heads": HEADS,
        "dtype": "float32",
        "threads": 1,
        "lengths": list(LENGTHS),
        "parameters": {n: sum(p.numel() for p in m.parameters()) for n, m in layers.items()},
    }
    for name, layer in layers.items():
        for words, run in (("forward", forward), ("forward_backward", both)):
            inputs = [torch.randn(1, length, WIDTH) for length in LENGTHS]
            seconds = [float(f"{least(run, layer, x):.4g}") for x in inputs]
            measured[f"{name}_{words}_seconds"] = seconds
            print(name, words, seconds, flush=True)
    record.write("attention_lstm", measured)


if __name__ == "__main__":
    main()
