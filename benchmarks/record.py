"""Keep a measurement with all that it depends on: script, hardware, versions, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def hardware() -> dict[str, Any]:
    """What was measured on."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cuda = torch.cuda.is_available()
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def write(script: str, measured: dict[str, Any], packages: tuple[str, ...] = ()) -> Path:
    """Write `results/SCRIPT.json`; returns its path."""
    versions = {"python": platform.python_version()}
    versions |= {p: importlib.metadata.version(p) for p in ("torch", *packages)}
    record = {
        "script": f"benchmarks/{script}.py",
        "date": datetime.date.today().isoformat(),
        "hardware": hardware(),
        "versions": versions,
        "measured": measured,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{script}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8", newline="\n")
    return path
