"""What this machine has: memory, disk, processors and accelerators."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

import torch

GB = 10**9  # disks and files
GIB = 2**30  # memory


def readable(size: int) -> str:
    """Bytes for people, in decimal units: 13.48 GB, 3.5 MB."""
    for unit, name in ((GB, "GB"), (10**6, "MB")):
        if size >= unit:
            digits = 2 if unit == GB else 1
            return f"{size / unit:.{digits}f} {name}"
    return f"{size / 1000:.1f} kB"


def available_memory() -> int | None:
    """Bytes of main memory that can still be taken without swapping; None where unknown.

    On Linux a container's own limit (cgroup) counts where it is lower.
    """
    if sys.platform.startswith("linux"):
        fields = dict(
            line.split(":", 1)
            for line in Path("/proc/meminfo").read_text().splitlines()
            if ":" in line
        )
        free = int(fields["MemAvailable"].split()[0]) * 1024
        limit = _cgroup_room()
        return free if limit is None else min(free, limit)
    if sys.platform == "darwin":
        # Apple's kernel gives freely used pages back; half of all memory is a careful reading.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    if sys.platform == "win32":
        return _windows_memory()
    return None


def _cgroup_room() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        if limit == "max":
            return None
        return int(limit) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None


def _windows_memory() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = [("size", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in (
                "total",
                "free",
                "page",
                "free_page",
                "virtual",
                "free_virtual",
                "extended",
            )
        ]

    status = Status(size=ctypes.sizeof(Status))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):  # type: ignore[attr-defined]
        return None
    return int(status.free)


def free_disk(path: Path) -> int:
    """Free bytes on the disk that holds `path`, or would hold it."""
    path = Path(path).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def devices() -> list[tuple[str, str, int | None]]:
    """(device, name, free bytes) of every device torch can compute on here, the processor last."""
    found: list[tuple[str, str, int | None]] = []
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            free, _ = torch.cuda.mem_get_info(i)
            found.append((f"cuda:{i}", torch.cuda.get_device_name(i), free))
    if torch.backends.mps.is_available():
        room = torch.mps.recommended_max_memory()
        found.append(("mps", "Apple GPU", room - torch.mps.driver_allocated_memory()))
    found.append(("cpu", f"{os.cpu_count()} processors", available_memory()))
    return found


def free_memory(device: torch.device | str) -> int | None:
    """Bytes that can still be taken on `device`; None where that cannot be known."""
    device = torch.device(device)
    for name, _, free in devices():
        if torch.device(name) == device or (device.index is None and name.startswith(device.type)):
            return free
    return None


def best_device() -> str:
    """The device to compute on where none is named: a CUDA or Apple GPU, else the processor."""
    return devices()[0][0].split(":")[0]
