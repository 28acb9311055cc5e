"""The record of a run: one line of JSON a step, and one for each validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llama_course.files import flush, write_text

Record = dict[str, Any]


class TrainingLog:
    """`log.jsonl` in a run's folder.

    A step's line has step (the number of steps done with it), loss (nats per token), lr,
    grad_norm (before clipping), tokens (all so far) and seconds (of training so far, not of
    evaluation). A validation's line has step, validation_loss, validation_tokens and seconds.
    Numbers are written so that they read back to the last bit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 0.0  # at the last line

    def cut_back(self, step: int) -> None:
        """Keep the lines up to `step`, each once; what was done after it is done again."""
        kept = [record for record in read_log(self.path) if record["step"] <= step]
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))
        self.seconds = kept[-1]["seconds"] if kept else 0.0

    def append(self, record: Record) -> None:
        """Add a line and hand it to the system, so that a killed process has lost none."""
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(record) + "\n")
        self.seconds = record["seconds"]

    def flush(self) -> None:
        """Put it on the disk: a checkpoint must not outlive the lines that led to it."""
        if self.path.is_file():
            flush(self.path)


def read_log(path: Path) -> list[Record]:
    """The records of a `log.jsonl` (or of the run's folder that has one), in order.

    A last line that was cut off by an interruption is left out. No file means no records.
    """
    path = Path(path)
    path = path / "log.jsonl" if path.is_dir() else path
    if not path.is_file():
        return []
    records: list[Record] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(record, dict) or "step" not in record:
            break
        records.append(record)
    return records
