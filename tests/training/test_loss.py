"""The loss against torch's, and where torch's own formula would be wrong."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llama_course.training import bits_per_byte, cross_entropy, next_token_loss, perplexity

# Two sums over 50 float32 numbers in different orders: a few units in the last place of a loss
# near 4, each 2.4e-7.
TOLERANCE = 2e-6


def example(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4, 7, 50, generator=generator)
    return logits, torch.randint(0, 50, (4, 7), generator=generator)


def test_it_equals_torchs() -> None:
    logits, targets = example()
    ours, theirs = cross_entropy(logits, targets), F.cross_entropy(logits.mT, targets)
    assert ours.dtype == torch.float32 and ours.shape == ()
    assert abs(ours - theirs) < TOLERANCE


def test_its_gradient_equals_torchs() -> None:
    logits, targets = example()
    targets[0, :3] = -100
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    cross_entropy(ours, targets).backward()
    F.cross_entropy(theirs.mT, targets).backward()
    assert ours.grad is not None and theirs.grad is not None
    # Each component is (softmax - one-hot) / 25, at most 0.04: a unit in the last place is 4e-9.
    assert (ours.grad - theirs.grad).abs().max() < 2e-8
    assert not ours.grad[0, :3].any()  # what does not count has no gradient at all


@pytest.mark.parametrize("ignore_index", [-100, -1, 0])
def test_ignored_targets_count_neither_above_nor_below_the_line(ignore_index: int) -> None:
    logits, targets = example()
    targets[:, 4:] = ignore_index
    targets[:, :4] = targets[:, :4].clamp(min=1)
    ours = cross_entropy(logits, targets, ignore_index)
    assert abs(ours - F.cross_entropy(logits.mT, targets, ignore_index=ignore_index)) < TOLERANCE
    assert abs(ours - cross_entropy(logits[:, :4], targets[:, :4])) < TOLERANCE


def test_an_ignored_row_may_hold_anything() -> None:
    logits, targets = example()
    logits[0], targets[0] = torch.inf, -100
    assert abs(cross_entropy(logits, targets) - cross_entropy(logits[1:], targets[1:])) < TOLERANCE


def test_without_a_real_target_it_is_nan_as_torchs() -> None:
    logits, targets = example()
    assert cross_entropy(logits, torch.full_like(targets, -100)).isnan()


def test_huge_logits_do_not_overflow() -> None:
    logits = torch.tensor([[1000.0, 0.0], [-1000.0, -1000.0]])
    loss = cross_entropy(logits, torch.tensor([1, 0]))
    assert loss == (1000 + torch.tensor(2.0).log()) / 2  # one exact, one ln 2


def test_low_precision_logits_are_computed_in_float32() -> None:
    logits, targets = example()
    low = logits.bfloat16()
    # The same numbers, so the same arithmetic: exactly equal.
    assert cross_entropy(low, targets) == cross_entropy(low.float(), targets)


class Successor(nn.Module):
    """Is sure that i is followed by i + 1."""

    def forward(self, tokens: Tensor) -> Tensor:
        return 50.0 * F.one_hot(tokens + 1, 12).float()


def test_a_token_is_the_target_of_the_one_before() -> None:
    tokens = torch.arange(10)[None]
    assert next_token_loss(Successor(), tokens) < 1e-6  # the right shift: certain and right
    assert next_token_loss(Successor(), tokens, tokens) > 49  # no shift: certain and wrong
    assert next_token_loss(Successor(), tokens.flip(1)) > 49  # the other way round: wrong too
    targets = torch.full_like(tokens, -100)
    targets[0, 3] = 4
    assert next_token_loss(Successor(), tokens, targets) < 1e-6


def test_perplexity_and_bits_per_byte() -> None:
    assert perplexity(math.log(32)) == pytest.approx(32)
    assert perplexity(1e4) == math.inf
    # 10 tokens of ln 2 nats are 10 bits; over 5 bytes that is 2 bits a byte.
    assert bits_per_byte(math.log(2), n_tokens=10, n_bytes=5) == pytest.approx(2)
    with pytest.raises(ValueError, match="at least 1, found 0"):
        bits_per_byte(1.0, 10, 0)
