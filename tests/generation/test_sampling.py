"""The sampler against probabilities worked out by hand, and against counts."""

from __future__ import annotations

import math

import pytest
import torch

from llama_course.errors import CourseError
from llama_course.generation import sample

P = torch.tensor([0.05, 0.4, 0.15, 0.3, 0.1])  # not sorted on purpose


def counts(n: int = 20_000, **settings) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    logits = (P.log() + 3.0).expand(n, -1)  # a constant changes no probability
    return torch.bincount(sample(logits, generator=generator, **settings), minlength=5) / n


def agrees(found: torch.Tensor, expected: list[float]) -> bool:
    """Within 5 standard deviations of a count, a chance of 1 in a million; zeros exactly."""
    wanted = torch.tensor(expected)
    room = 5 * (wanted * (1 - wanted) / 20_000).sqrt()
    return bool(((found - wanted).abs() <= room).all())


def test_plain_sampling_follows_the_distribution() -> None:
    assert agrees(counts(), P.tolist())


def test_temperature_sharpens_before_the_filters() -> None:
    sharp = P**2 / (P**2).sum()  # temperature 1/2
    assert agrees(counts(temperature=0.5), sharp.tolist())
    # After sharpening, 0.4 and 0.3 hold 0.82 of the mass: a nucleus of 0.8 keeps just them.
    assert agrees(counts(temperature=0.5, top_p=0.8), [0, 0.16 / 0.25, 0, 0.09 / 0.25, 0])


def test_top_k_keeps_the_likeliest_and_renormalises() -> None:
    assert agrees(counts(top_k=2), [0, 4 / 7, 0, 3 / 7, 0])
    assert agrees(counts(top_k=1), [0, 1, 0, 0, 0])
    assert agrees(counts(top_k=99), P.tolist())


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    assert agrees(counts(top_p=0.69), [0, 4 / 7, 0, 3 / 7, 0])  # 0.4 + 0.3 reaches 0.69
    third = [0, 0.4 / 0.85, 0.15 / 0.85, 0.3 / 0.85, 0]
    assert agrees(counts(top_p=0.72), third)  # and not 0.72: one token more
    assert agrees(counts(top_p=0.01), [0, 1, 0, 0, 0])  # never nothing
    assert agrees(counts(top_p=1.0), P.tolist())


def test_top_k_comes_before_top_p() -> None:
    # Of the three likeliest 0.4, 0.3, 0.15 the first has 0.47 after renormalising: p = 0.45.
    assert agrees(counts(top_k=3, top_p=0.45), [0, 1, 0, 0, 0])


def test_temperature_zero_and_tiny_temperatures_take_the_largest() -> None:
    logits = torch.tensor([[1.0, 5.0, 4.999], [7.0, -3.0, 6.0]])
    assert sample(logits, temperature=0).tolist() == [1, 0]
    assert sample(logits * 100, temperature=1e-6).tolist() == [1, 0]


def test_the_same_seed_draws_the_same() -> None:
    logits = torch.randn(64, 50)
    draw = lambda seed: sample(logits, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": -1.0}, "temperature must be 0 or above"),
        ({"temperature": math.nan}, "temperature must be 0 or above"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.5}, "top_p must be above 0"),
    ],
)
def test_settings_that_mean_nothing(settings, words) -> None:
    with pytest.raises(CourseError, match=words):
        sample(torch.zeros(1, 4), **settings)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers(bad) -> None:
    with pytest.raises(CourseError, match="not all finite"):
        sample(torch.tensor([[0.0, bad]]))


def test_minus_infinity_bars_a_token() -> None:
    logits = torch.tensor([[0.0, -math.inf, 1.0]]).expand(500, -1)
    assert set(sample(logits, generator=torch.Generator().manual_seed(0)).tolist()) == {0, 2}
    with pytest.raises(CourseError, match="not all finite"):
        sample(torch.full((1, 3), -math.inf))
