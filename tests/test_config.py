"""Configs: exact presets, both files' keys in old and new names, and refusals."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch

from llama_course.config import (
    LLAMA_3_1_SCALING,
    PRESETS,
    ModelConfig,
    RopeScaling,
    hidden_dim,
)
from llama_course.errors import CourseError, nearest
from llama_course.model import Llama

# Published or, where the papers round, counted by hand from the shapes.
COUNTS = {
    "7B": 6_738_415_616,
    "13B": 13_015_864_320,
    "33B": 32_528_943_616,
    "65B": 65_285_660_672,
    "llama2-70B": 68_976_648_192,
    "llama3-8B": 8_030_261_248,
    "llama3.2-1B": 1_235_814_400,
    "tinyllama-1.1B": 1_100_048_384,
    "stories260K": 260_032,
    "stories15M": 15_191_712,
}


@pytest.mark.parametrize("name", COUNTS)
def test_presets_have_the_published_parameters(name: str) -> None:
    with torch.device("meta"):
        model = Llama(ModelConfig.preset(name, n_layers=1))
    per_layer = sum(p.numel() for p in model.layers.parameters())
    outside = sum(p.numel() for p in model.parameters()) - per_layer
    assert outside + PRESETS[name].n_layers * per_layer == COUNTS[name]


def test_names_of_presets() -> None:
    assert ModelConfig.preset("30B") == ModelConfig.preset("33B")
    assert ModelConfig.preset("7B", max_seq_len=5).max_seq_len == 5
    with pytest.raises(CourseError, match=r"did you mean 7B"):
        ModelConfig.preset("7b")


def test_hidden_dim_follows_metas_rule() -> None:
    assert [hidden_dim(d) for d in (4096, 5120, 6656, 8192)] == [11008, 13824, 17920, 22016]
    assert hidden_dim(8192, 4096, 1.3) == 28_672
    assert hidden_dim(4096, 1024, 1.3) == 14_336


def test_any_hidden_dim_survives_metas_rule() -> None:
    for width in [*range(1, 400), 5632, 14_336, 28_672, 11_007]:
        config = ModelConfig(dim=96, n_layers=1, n_heads=4, vocab_size=9, hidden_dim=width)
        read, _ = ModelConfig.from_meta(json.loads(json.dumps(config.to_meta())))
        assert read == config


SCALINGS = [
    None,
    RopeScaling("linear", 2.5, 1024),
    RopeScaling("dynamic", 2.0, 4096),
    RopeScaling("yarn", 4.0, 1024, beta_fast=20.0, truncate=False, attention_factor=1.1),
    RopeScaling("yarn", 4.0, 1024, mscale=0.7, mscale_all_dim=0.9),
    RopeScaling("llama3", 32.0, 1024, low_freq_factor=1.5, high_freq_factor=3.0),
]


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
@pytest.mark.parametrize("tied", [True, False])
def test_hugging_faces_keys_go_both_ways(scaling: RopeScaling | None, tied: bool) -> None:
    config = ModelConfig(
        dim=60,
        n_layers=3,
        n_heads=6,
        n_kv_heads=2,
        head_dim=14,
        hidden_dim=77,
        vocab_size=123,
        norm_eps=3e-6,
        rope_theta=12_345.5,
        rope_scaling=scaling,
        max_seq_len=4096,
        tie_embeddings=tied,
    )
    written = json.loads(json.dumps(config.to_huggingface()))
    assert ModelConfig.from_huggingface(written) == (config, {})
    # transformers 5: everything of RoPE in one object.
    newer = {k: v for k, v in written.items() if k not in ("rope_theta", "rope_scaling")}
    newer["rope_parameters"] = {"rope_theta": 12_345.5, **(written["rope_scaling"] or {})}
    assert ModelConfig.from_huggingface(newer)[0] == config
    # transformers 4 once wrote "type".
    if scaling is not None:
        rope = dict(written["rope_scaling"])
        older = written | {"rope_scaling": rope | {"type": rope.pop("rope_type")}}
        assert ModelConfig.from_huggingface(older)[0] == config


def test_transformers_reads_and_writes_the_same() -> None:
    transformers = pytest.importorskip("transformers")
    for name in ("7B", "llama2-70B", "llama3.2-1B"):
        config = ModelConfig.preset(name)
        theirs = transformers.LlamaConfig(**config.to_huggingface())
        assert ModelConfig.from_huggingface(json.loads(theirs.to_json_string())) == (config, {})


def test_old_files_without_newer_keys() -> None:
    config = {
        "hidden_size": 64,
        "intermediate_size": 99,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "vocab_size": 10,
    }
    read, assumed = ModelConfig.from_huggingface(config)
    assert (read.n_kv_heads, read.head_dim, read.rope_theta) == (4, 16, 10_000.0)
    assert assumed == {"norm_eps": 1e-6, "max_seq_len": 2048}
    read, assumed = ModelConfig.from_huggingface(config, norm_eps=1e-5, max_seq_len=9)
    assert (read.norm_eps, read.max_seq_len, assumed) == (1e-5, 9, {})


def test_metas_file() -> None:
    params = {"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-06}
    read, assumed = ModelConfig.from_meta(params | {"vocab_size": -1}, vocab_size=32_000)
    assert read == ModelConfig.preset("7B")
    assert assumed == {"max_seq_len": 2048}
    with pytest.raises(CourseError, match="vocab_size must be a positive integer"):
        ModelConfig.from_meta(params | {"vocab_size": -1})
    llama3 = {
        "dim": 4096,
        "n_layers": 32,
        "n_heads": 32,
        "n_kv_heads": 8,
        "vocab_size": 128_256,
        "ffn_dim_multiplier": 1.3,
        "multiple_of": 1024,
        "norm_eps": 1e-05,
        "rope_theta": 500_000.0,
    }
    assert ModelConfig.from_meta(llama3)[0] == ModelConfig.preset("llama3-8B")
    read, assumed = ModelConfig.from_meta(llama3 | {"use_scaled_rope": True})
    assert read.rope_scaling == assumed["rope_scaling"] == LLAMA_3_1_SCALING
    assert read.max_seq_len == 131_072
    other = RopeScaling("yarn", 2.0, 8192)
    yarn = dataclasses.replace(ModelConfig.preset("llama3-8B"), rope_scaling=other)
    assert "use_scaled_rope" not in yarn.to_meta()  # it would be read as Llama 3.1's


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"dim": 0}, "dim must be a positive integer"),
        ({"n_heads": 3, "head_dim": 0}, "do not divide its width"),
        ({"n_kv_heads": 3}, "do not divide its heads"),
        ({"head_dim": 3}, "must be even"),
        ({"norm_eps": float("nan")}, "norm_eps must be a number"),
        ({"norm_eps": -1.0}, "norm_eps must be above 0"),
        ({"tie_embeddings": 1}, "tie_embeddings must be True or False"),
        ({"rope_scaling": {"factor": 2}}, "must be a RopeScaling"),
    ],
)
def test_sizes_that_do_not_fit(fields: dict[str, Any], pattern: str) -> None:
    good = {"dim": 64, "n_layers": 1, "n_heads": 4, "vocab_size": 9}
    with pytest.raises(CourseError, match=pattern):
        ModelConfig.from_huggingface(ModelConfig(**good).to_huggingface(), **fields)


@pytest.mark.parametrize("fields", [{"type": "ntk"}, {"factor": 0.5}, {"original_max_seq_len": 0}])
def test_scalings_that_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(CourseError):
        RopeScaling(**{"type": "linear", "factor": 2.0, "original_max_seq_len": 8} | fields)


def test_where_nothing_is_known_the_error_says_so() -> None:
    assert nearest("seven", ["7B", "13B"]) == "known are 7B, 13B."
    assert nearest("7b", ["7B", "13B"]) == "did you mean 7B?"
    assert nearest("x", []) == "there are none yet."
