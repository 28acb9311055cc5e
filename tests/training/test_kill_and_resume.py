"""`kill -9` at any moment, then resume: the run that was never killed, to the last bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from llama_course.training import read_log

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import train_child  # noqa: E402

STEPS = train_child.STEPS
KILLED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM

# Each process resumes what the one before left. Checkpoints fall due at 4, 8, 12, ...
CHAINS = {
    "float32": [
        ("backward", 2),  # before there is any checkpoint
        ("half written", 8),
        ("before rename", 12),
        ("after rename", 12),
        ("torn line", 14),
        ("slow", 18),  # killed from outside, wherever it is
    ],
    "bfloat16": [("optimizer", 5), ("half written", 16)],
}


@pytest.fixture(scope="module")
def processes() -> Iterator[BaseContext]:
    """Fresh processes; where the system can, from a server that has imported torch already.

    The server is a Python of its own, so it has not the import hook of this one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        # Python 3.11's server does not look at this process's sys.path, only at the variable.
        places = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
        if sys.platform == "win32":
            yield multiprocessing.get_context("spawn")
        else:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["train_child"])
            yield context


def start(processes: BaseContext, *arguments: object) -> BaseProcess:
    process = processes.Process(target=train_child.train, args=arguments)  # type: ignore[attr-defined]
    process.start()
    return process


def run_to_end(processes: BaseContext, folder: Path, dtype: str) -> None:
    process = start(processes, folder, dtype)
    process.join(120)
    assert process.exitcode == 0


def run_killed(processes: BaseContext, folder: Path, dtype: str, moment: str, step: int) -> None:
    process = start(processes, folder, dtype, moment, step)
    if moment == "slow":
        deadline = time.monotonic() + 60
        while not any(record["step"] >= step for record in read_log(folder)):
            assert time.monotonic() < deadline and process.is_alive()
            time.sleep(0.01)
        process.kill()
    process.join(120)
    assert process.exitcode == KILLED, moment


def numbers(folder: Path) -> list[dict[str, float]]:
    """The log without the clock: all that is computed."""
    return [{k: v for k, v in r.items() if k != "seconds"} for r in read_log(folder)]


@pytest.mark.parametrize("dtype", CHAINS)
def test_a_killed_run_goes_on_bit_for_bit(
    dtype: str, tmp_path: Path, processes: BaseContext
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_to_end(processes, whole, dtype)
    for moment, step in CHAINS[dtype]:
        run_killed(processes, killed, dtype, moment, step)
    if dtype == "bfloat16":  # the half-written file is there to be ignored
        assert list((killed / "checkpoints").glob(".step-*.part"))
    run_to_end(processes, killed, dtype)

    expected = numbers(whole)
    assert [r["step"] for r in expected if "loss" in r] == list(range(1, STEPS + 1))
    assert [r["step"] for r in expected if "validation_loss" in r] == [0, 6, 12, 18, 24]
    # Exact equality of floats: JSON writes the shortest digits that read back to the same bits.
    assert numbers(killed) == expected

    name = f"step-{STEPS:06d}.pt"
    first = torch.load(whole / "checkpoints" / name, weights_only=True)
    second = torch.load(killed / "checkpoints" / name, weights_only=True)
    assert json.loads(first["described"]) == json.loads(second["described"])
    assert_same_bits(first["model"], second["model"])
    assert_same_bits(first["optimizer"]["state"], second["optimizer"]["state"])
    assert_same_bits(first["random"], second["random"])
    assert not list((killed / "checkpoints").glob(".*"))  # nothing half-written is left
    kept = sorted(p.name for p in (killed / "checkpoints").iterdir())
    assert kept == ["step-000020.pt", name]


def assert_same_bits(one: object, other: object) -> None:
    if isinstance(one, dict):
        assert isinstance(other, dict) and one.keys() == other.keys()
        for name in one:
            assert_same_bits(one[name], other[name])
    else:
        assert isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
        assert one.dtype == other.dtype and torch.equal(one, other)
