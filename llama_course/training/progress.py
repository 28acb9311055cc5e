"""What a person sees while a model trains: a live bar, or now and then a line."""

from __future__ import annotations

import sys
from typing import Any, Literal

from tqdm.auto import tqdm

from llama_course.training.log import Record

Kind = Literal["auto", "bar", "lines", "none"]


class Progress:
    """A bar with loss, learning rate and tokens per second; plain lines where nobody looks live.

    "auto" is a bar on a terminal and in a notebook, and lines in a file or a pipe.
    """

    def __init__(self, kind: Kind, steps: int, start: int) -> None:
        self.kind = ("bar" if _live() else "lines") if kind == "auto" else kind
        self.steps = steps
        self.every = max(1, steps // 10)
        self.bar: Any = None
        if self.kind == "bar":
            self.bar = tqdm(total=steps, initial=start, unit="step", desc="training")

    def step(self, record: Record, tokens_per_second: float) -> None:
        """Show one step's line of the log."""
        if self.bar is not None:
            self.bar.set_postfix_str(
                f"loss {record['loss']:.3f}, lr {record['lr']:.1e}, {tokens_per_second:,.0f} tok/s",
                refresh=False,
            )
            self.bar.update(1)
        elif self.kind == "lines" and (record["step"] == 1 or record["step"] % self.every == 0):
            self.say(
                f"step {record['step']:>{len(str(self.steps))}} of {self.steps}  "
                f"loss {record['loss']:.3f}  lr {record['lr']:.1e}  "
                f"{tokens_per_second:,.0f} tokens/s"
            )

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self.bar is not None:
            self.bar.write(text)
        elif self.kind == "lines":
            print(text, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _live() -> bool:
    """Whether a bar can move: a terminal, or the kernel of a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
