"""Windows for training and evaluation: which tokens, in which order, how often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_course.data import TokenBatches, eval_windows
from llama_course.errors import CourseError

RECORDED = [[11, 83, 67], [3, 59, 35], [22, 54, 62]]


def test_targets_are_the_inputs_one_further() -> None:
    batches = TokenBatches(np.arange(1000, dtype=np.uint16), batch_size=4, seq_len=10)
    inputs, targets = batches.at(3)
    assert inputs.shape == targets.shape == (4, 10)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs + 1, targets)  # the tokens are 0, 1, 2, ...


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    tokens = np.arange(1000, dtype=np.uint16)
    forward = [TokenBatches(tokens, 4, 10, seed=5).at(step)[0] for step in range(60)]
    one = TokenBatches(tokens, 4, 10, seed=5)
    for step in reversed(range(60)):
        assert torch.equal(one.at(step)[0], forward[step])
    other = TokenBatches(tokens, 4, 10, seed=6)
    assert any(not torch.equal(other.at(step)[0], forward[step]) for step in range(3))


def test_the_order_is_the_same_on_every_system_and_release() -> None:
    """Recorded once: a change here would break the resuming of runs begun before it."""
    batches = TokenBatches(np.arange(100, dtype=np.uint16), batch_size=3, seq_len=8, seed=0)
    assert [batches.at(step)[0][:, 0].tolist() for step in (0, 1, 4)] == RECORDED


def test_an_epoch_reads_each_window_once_and_the_next_in_another_order() -> None:
    batches = TokenBatches(np.arange(1001, dtype=np.uint16), batch_size=1, seq_len=10, seed=1)
    n = batches.windows_per_epoch
    assert n == 99  # one fewer than the 100 that fit, for the offset
    epochs = [[batches.at(e * n + i)[0][0, 0].item() for i in range(n)] for e in range(12)]
    for starts in epochs:
        first = min(starts)
        assert 0 <= first < 10 and sorted(starts) == list(range(first, first + 990, 10))
        assert starts != sorted(starts)
    assert len({tuple(starts) for starts in epochs}) == 12
    assert len({min(starts) for starts in epochs}) > 4  # offsets differ too


@settings(max_examples=60, deadline=None)
@given(length=st.integers(2, 120), seq_len=st.integers(1, 40), step=st.integers(0, 50))
def test_every_window_is_whole_and_inside(length: int, seq_len: int, step: int) -> None:
    tokens = np.arange(length, dtype=np.uint16)
    if length < seq_len + 1:
        with pytest.raises(CourseError, match=f"has {length} tokens.*needs {seq_len + 1}"):
            TokenBatches(tokens, 2, seq_len)
        return
    inputs, targets = TokenBatches(tokens, 2, seq_len).at(step)
    assert inputs.shape == (2, seq_len) and torch.equal(inputs + 1, targets)


@settings(max_examples=60, deadline=None)
@given(length=st.integers(2, 120), seq_len=st.integers(1, 40), batch=st.integers(1, 5))
def test_evaluation_has_every_token_but_the_first_as_a_target_once(
    length: int, seq_len: int, batch: int
) -> None:
    seen: Counter[int] = Counter()
    for inputs, targets in eval_windows(np.arange(length, dtype=np.uint16), seq_len, batch):
        assert torch.equal(inputs + 1, targets) and inputs.shape[0] <= batch
        seen.update(targets.flatten().tolist())
    assert seen == Counter(range(1, length))


def test_some_evaluation_windows_are_evenly_spread() -> None:
    tokens = torch.arange(1001)
    starts = [i[0, 0].item() for i, _ in eval_windows(tokens, 10, count=5)]
    assert starts == [0, 250, 500, 740, 990]


def test_what_is_no_row_of_tokens_is_refused() -> None:
    with pytest.raises(CourseError, match="one row of whole numbers"):
        TokenBatches(np.zeros((3, 4), dtype=np.int64), 1, 2)
    with pytest.raises(CourseError, match="type float64"):
        TokenBatches(np.zeros(30), 1, 2)
    with pytest.raises(CourseError, match="seed must be"):
        TokenBatches(np.zeros(30, dtype=np.int64), 1, 2, seed=-1)


def test_a_memory_map_is_read_window_by_window(tmp_path) -> None:
    path = tmp_path / "tokens.bin"
    np.arange(500, dtype=np.uint16).tofile(path)
    mapped = np.memmap(path, dtype=np.uint16, mode="r")
    plain = TokenBatches(np.arange(500, dtype=np.uint16), 2, 16, seed=3)
    assert torch.equal(TokenBatches(mapped, 2, 16, seed=3).at(7)[0], plain.at(7)[0])
