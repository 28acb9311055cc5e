"""The training config: plain values, checked at once."""

from __future__ import annotations

import json

import pytest

from llama_course.errors import CourseError
from llama_course.training import TrainConfig


def test_it_survives_json() -> None:
    config = TrainConfig(steps=10, betas=(0.8, 0.9), eval_windows=3, warmup_steps=2)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_its_defaults_are_llamas() -> None:
    config = TrainConfig(steps=100)
    assert config.betas == (0.9, 0.95) and config.weight_decay == 0.1
    assert config.clip_norm == 1.0 and config.final_ratio == 0.1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps must be a whole number from 1"),
        ({"batch_size": True}, "batch_size must be a whole number from 1 on, found True"),
        ({"batch_size": 10, "accumulation": 4}, "accumulation that divides it"),
        ({"peak_lr": float("nan")}, "peak_lr must be above 0"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0"),
        ({"warmup_steps": 101}, "must not be more than its steps"),
        ({"betas": (0.9, 1.0)}, "below 1"),
        ({"dtype": "float16"}, "did you mean bfloat16, float32"),
        ({"final_ratio": 1.5}, "from 0 to 1"),
        ({"weight_decay": -0.1}, "0 or more"),
        ({"eval_windows": 0}, "eval_windows must be a whole number from 1"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(CourseError) as error:
        TrainConfig(**{"steps": 100, **changes})
    assert words in str(error.value)


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(CourseError, match="no field 'peek_lr'; did you mean peak_lr"):
        TrainConfig.from_dict({"steps": 5, "peek_lr": 1.0})
    with pytest.raises(CourseError, match="needs the field 'steps'"):
        TrainConfig.from_dict({})
