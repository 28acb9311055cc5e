"""The catalogues as a whole: the mistakes that a lesson promises to name are where they belong."""

from __future__ import annotations

import pytest

from llama_course import checks
from llama_course.checks.engine.diagnose import part_of

# What every check must name at least, by lesson, exercise and part; the names are the catalogue's.
PROMISED: dict[tuple[str, str], dict[str, list[str]]] = {
    ("01", "bpe"): {
        "pair_counts": ["not weighted by word frequency"],
        "merge_pair": ["overlapping merge"],
        "train_bpe": ["tie-break reversed"],
        "bpe_encode": ["merges applied by length", "merge order ignored"],
    },
    ("01", "bpe_decode"): {"bpe_decode": ["decoded token by token", "invalid bytes dropped"]},
    ("02", "spm_encode"): {
        "spm_encode": [
            "no dummy prefix",
            "spaces collapsed",
            "id order instead of score",
            "byte order",
        ]
    },
    ("02", "spm_decode"): {
        "spm_decode": ["prefix space kept", "bytes of a character decoded one by one", "byte order"]
    },
    ("03", "next_token_pairs"): {"next_token_pairs": ["targets shifted the wrong way"]},
    ("03", "cross_entropy"): {
        "cross_entropy": [
            "mean over padding",
            "overflow without the maximum",
            "base of the logarithm",
            "sum for mean",
            "softmax over the wrong axis",
        ]
    },
    ("03", "bits_per_byte"): {"bits_per_byte": ["nats per byte", "base ten"]},
    ("04", "rms_norm"): {
        "rms_norm": [
            "epsilon outside the root",
            "missing epsilon",
            "mean subtracted",
            "sum for mean",
            "statistics without the upcast",
            "weight multiplied before the cast",
            "wrong axis",
            "weight plus one",
            "no root",
        ]
    },
    ("05", "rope_angles"): {
        "rope_angles": [
            "wrong base",
            "exponent i/d for 2i/d",
            "frequencies reversed",
            "positions shifted by one",
            "positions ignored beyond the first row",
            "low-precision angles",
        ]
    },
    ("05", "apply_rope"): {
        "apply_rope": [
            "identity",
            "half-split pairing",
            "wrong sign",
            "positions ignored beyond the first row",
        ]
    },
    ("05", "permute_qk"): {"permute_qk": ["permutation inverted"]},
    ("06", "split_heads"): {"split_heads": ["view for transpose"]},
    ("06", "merge_heads"): {"merge_heads": ["view for transpose"]},
    ("06", "causal_mask"): {
        "causal_mask": [
            "mask off by one, itself left out",
            "mask off by one, the next token seen",
            "mask inverted",
        ]
    },
    ("06", "attention"): {
        "attention": [
            "scale by d",
            "no scale",
            "mask after softmax",
            "mask inverted",
            "fully masked row not zero",
            "heads and tokens exchanged",
            "softmax over queries",
            "softmax in low precision",
        ]
    },
    ("07", "repeat_kv"): {"repeat_kv": ["tile for repeat"]},
    ("07", "cache"): {"Cache": ["cache overwritten", "one offset for all rows"]},
    ("07", "decode_positions"): {
        "decode_positions": ["offset not advanced", "longest row for all", "first row for all"]
    },
    ("07", "cached_attention"): {
        "cached_attention": [
            "no mask",
            "mask misaligned in a chunk",
            "keys cached before rotation",
            "rows of unequal length mixed",
        ]
    },
    ("08", "feed_forward"): {
        "silu": ["sigmoid only", "plain ReLU", "GELU", "overflowing SiLU"],
        "swiglu": ["gate and up swapped", "SiLU on the product"],
    },
    ("08", "hidden_dim"): {"hidden_dim": ["rounding down", "rounding to the nearest"]},
    ("09", "block"): {
        "Block": [
            "post-norm",
            "one norm shared",
            "residual from the normed input",
            "attention and feed-forward in parallel",
        ]
    },
    ("09", "my_llama"): {
        "MyLlama": ["missing final norm", "one layer's weights reused", "head tied"]
    },
}

# Exercises of weight: at least eight mistakes each. Every exercise is one but those of lesson 00.
ENOUGH = 8


@pytest.mark.parametrize(("lesson", "name"), PROMISED)
def test_the_mistakes_that_a_lesson_must_name(lesson: str, name: str) -> None:
    exercise = checks.load(name)
    assert exercise.lesson == lesson
    found: dict[str, set[str]] = {part: set() for part in exercise.parts}
    for mistake in exercise.mistakes:
        for form in mistake.forms:
            found[part_of(exercise, form)].add(mistake.name)
    for part, promised in PROMISED[lesson, name].items():
        assert set(promised) <= found[part], f"{part} lacks {set(promised) - found[part]}"


def test_every_core_exercise_from_lesson_01_on_is_in_the_list() -> None:
    core = {(e.lesson, e.name) for e in checks.everything() if e.core and e.lesson >= "01"}
    numbered = {pair for pair in core if pair[0].isdigit()}
    assert numbered <= set(PROMISED), f"add what they must name: {numbered - set(PROMISED)}"


@pytest.mark.parametrize("name", checks.names())
def test_every_exercise_names_enough(name: str) -> None:
    assert len(checks.load(name).mistakes) >= ENOUGH


def test_lessons_01_to_03_and_06_to_09_name_at_least_120() -> None:
    lessons = {"01", "02", "03", "06", "07", "08", "09"}
    assert sum(len(e.mistakes) for e in checks.everything() if e.lesson in lessons) >= 120
