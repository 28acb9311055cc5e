"""The learning rate of every step: up in a line, down along a cosine."""

from __future__ import annotations

import math


def learning_rate(
    step: int, *, peak: float, warmup_steps: int, total_steps: int, final_ratio: float = 0.1
) -> float:
    """The learning rate of step `step`, which counts from 0 (LLaMA, section 2.3).

    Steps 0 to `warmup_steps - 1` climb in a line from `peak / warmup_steps` to `peak`; from there
    half a cosine leads down to `final_ratio * peak` at the last step, `total_steps - 1`. Without
    warm-up step 0 is at the peak. Later steps stay at the end.
    """
    if step < 0 or warmup_steps < 0 or total_steps < max(1, warmup_steps):
        raise ValueError(
            "step must be 0 or more and warmup_steps between 0 and total_steps, "
            f"found step {step}, warmup_steps {warmup_steps}, total_steps {total_steps}"
        )
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    top = max(warmup_steps - 1, 0)  # the step at the peak
    last = total_steps - 1
    progress = min((step - top) / (last - top), 1.0) if last > top else float(step > top)
    height = (1 + math.cos(math.pi * progress)) / 2  # from 1 to 0
    return peak * (final_ratio + (1 - final_ratio) * height)
