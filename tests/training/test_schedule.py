"""The learning rate at every edge."""

from __future__ import annotations

import math

import pytest

from llama_course.training import learning_rate

SHAPE = {"peak": 3e-4, "warmup_steps": 10, "total_steps": 101}


def test_warm_up_is_a_line_from_the_first_step_to_the_peak() -> None:
    assert learning_rate(0, **SHAPE) == 3e-4 * 1 / 10
    assert learning_rate(4, **SHAPE) == 3e-4 * 5 / 10
    assert learning_rate(9, **SHAPE) == 3e-4


def test_the_cosine_leads_from_the_peak_to_a_tenth() -> None:
    assert 0.9999e-4 * 3 > learning_rate(11, **SHAPE) > 0.99 * 3e-4  # flat at the top
    # Half-way between the steps 9 and 100 a cosine is half-way down: 0.1 + 0.9 / 2.
    halves = (learning_rate(54, **SHAPE) + learning_rate(55, **SHAPE)) / 2
    assert halves == pytest.approx(0.55 * 3e-4, rel=1e-12)
    quarter = learning_rate(15, peak=1.0, warmup_steps=0, total_steps=61)
    assert quarter == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2, rel=1e-12)


def test_the_last_step_has_exactly_the_final_ratio() -> None:
    assert learning_rate(100, **SHAPE) == pytest.approx(3e-5, rel=1e-15)
    assert learning_rate(1000, **SHAPE) == learning_rate(100, **SHAPE)
    assert learning_rate(100, **SHAPE, final_ratio=0.0) == 0.0
    assert learning_rate(100, **SHAPE, final_ratio=1.0) == 3e-4


def test_it_rises_and_then_falls() -> None:
    rates = [learning_rate(step, **SHAPE) for step in range(101)]
    assert rates[:10] == sorted(rates[:10]) and len(set(rates[:10])) == 10
    assert rates[9:] == sorted(rates[9:], reverse=True) and len(set(rates[9:])) == 92


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_without_warm_up_the_first_step_is_at_the_peak(warmup_steps: int) -> None:
    assert learning_rate(0, peak=1.0, warmup_steps=warmup_steps, total_steps=5) == 1.0
    assert learning_rate(4, peak=1.0, warmup_steps=warmup_steps, total_steps=5) == 0.1


def test_warm_up_only_and_a_single_step() -> None:
    assert learning_rate(4, peak=1.0, warmup_steps=5, total_steps=5) == 1.0
    assert learning_rate(0, peak=1.0, warmup_steps=0, total_steps=1) == 1.0


@pytest.mark.parametrize(
    ("step", "warmup_steps", "total_steps"), [(-1, 0, 5), (0, 6, 5), (0, 0, 0)]
)
def test_impossible_shapes_are_refused(step: int, warmup_steps: int, total_steps: int) -> None:
    with pytest.raises(ValueError, match="between 0 and total_steps"):
        learning_rate(step, peak=1.0, warmup_steps=warmup_steps, total_steps=total_steps)
