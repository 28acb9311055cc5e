"""Folders written here load in transformers, and theirs here, with the same logits and ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import quiet_load, random_model, same

from llama_course.checkpoints import inspect_checkpoint, load, meta_to_huggingface, save
from llama_course.config import RopeScaling
from llama_course.errors import CourseError
from llama_course.tokenizers import train_sentencepiece

transformers = pytest.importorskip("transformers")
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: E402


def logits(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        out = model(tokens)
    return out.logits.float() if hasattr(out, "logits") else out


def distance(a: Any, b: Any, length: int = 40) -> float:
    """The largest difference of logits, as a part of their scale, for 40 or more positions."""
    vocab_size = b.config.vocab_size
    tokens = torch.randint(vocab_size, (2, length), generator=torch.Generator().manual_seed(1))
    left, right = logits(a, tokens), logits(b, tokens)
    return ((left - right).abs().max() / right.abs().max()).item()


# Float32 sums in another order differ by about 1e-6 of the scale.
CLOSE = 1e-5


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tie_embeddings": True},
        {"n_kv_heads": 12, "rope_theta": 5e5, "norm_eps": 1e-6},
        {"head_dim": 16},
        {"rope_scaling": RopeScaling("linear", 3.0, 20), "max_seq_len": 60},
        {"rope_scaling": RopeScaling("dynamic", 2.0, 64), "max_seq_len": 64},
        {"rope_scaling": RopeScaling("yarn", 4.0, 16, beta_fast=24.0), "max_seq_len": 64},
        {"rope_scaling": RopeScaling("llama3", 8.0, 32, low_freq_factor=1.5), "max_seq_len": 99},
    ],
    ids=str,
)
def test_ours_load_in_transformers_and_theirs_in_ours(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    model = random_model(**fields)
    save(model, tmp_path / "ours")
    theirs, info = LlamaForCausalLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert distance(model, theirs.eval()) <= CLOSE
    theirs.save_pretrained(tmp_path / "theirs")
    loaded, _ = load(tmp_path / "theirs")
    assert same(model, loaded)


def test_a_forgotten_reordering_is_seen_in_the_logits(tmp_path: Path) -> None:
    """A converter that leaves q and k as they are: the weights load, and the model is another."""
    model = random_model()
    save(model, tmp_path)
    from llama_course.checkpoints import huggingface_to_meta

    wrong = random_model()
    state = meta_to_huggingface(dict(model.named_parameters()), model.config)
    right_names = huggingface_to_meta(state, model.config)
    for name, weight in wrong.named_parameters():
        from llama_course.checkpoints.huggingface import huggingface_name

        assert right_names[name].shape == weight.shape
        weight.data = state[huggingface_name(name)].detach()
    theirs = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    assert distance(model, theirs, length=1100) <= CLOSE
    assert distance(wrong, theirs, length=1100) > 0.01


@pytest.mark.parametrize("size", ["100KB", "5GB"])
def test_their_sharded_and_single_folders(tmp_path: Path, size: str) -> None:
    config = LlamaConfig(**random_model().config.to_huggingface() | {"head_dim": None})
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size=size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (size == "100KB")
    ours, _ = load(tmp_path)
    assert ours.tok_embeddings.weight.dtype == torch.bfloat16
    # In float32 arithmetic of the same bfloat16 weights. Read anew: theirs rounds its rotary
    # table together with the weights when it is cast.
    theirs = LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert distance(ours.float(), theirs.eval()) <= CLOSE


def test_our_shards_load_in_transformers(tmp_path: Path) -> None:
    model = random_model()
    save(model, tmp_path, max_shard_bytes=150_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    assert index["metadata"]["total_size"] == 4 * sum(p.numel() for p in model.parameters())
    assert distance(model, LlamaForCausalLM.from_pretrained(tmp_path).eval()) <= CLOSE
    save(model, tmp_path, max_shard_bytes=150_000)  # the same names again: they are taken
    assert distance(model, LlamaForCausalLM.from_pretrained(tmp_path).eval()) <= CLOSE


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("parts", [1, 3])
def test_older_bin_files(tmp_path: Path, parts: int, zipped: bool) -> None:
    """pytorch_model.bin, whole and in parts, with the tables that old versions stored."""
    model = random_model()
    state = meta_to_huggingface({k: v.detach() for k, v in model.named_parameters()}, model.config)
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_huggingface()))
    names = list(state)
    weight_map = {}
    for i in range(parts):
        file = "pytorch_model.bin" if parts == 1 else f"pytorch_model-{i + 1:05}-of-{parts:05}.bin"
        part = {name: state[name] for name in names[i::parts]}
        torch.save(part, tmp_path / file, _use_new_zipfile_serialization=zipped)
        weight_map |= dict.fromkeys(part, file)
    if parts > 1:
        index = {"metadata": {}, "weight_map": weight_map}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    loaded, _ = load(tmp_path)
    assert same(model, loaded)
    assert "pytorch_model.bin" in inspect_checkpoint(tmp_path).variant
    # Saved over, the old files are gone: nothing is left that could be read in their place.
    save(loaded, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert same(model, load(tmp_path)[0])


def test_a_tied_model_that_stores_its_output_all_the_same(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = random_model(tie_embeddings=True)
    save(model, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert same(model, load(tmp_path)[0])  # equal: a needless copy
    state["lm_head.weight"][3, 5] += 1.0
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.warns(UserWarning, match=r"lm_head.weight differs"):
        loaded, _ = load(tmp_path)
    assert not loaded.config.tie_embeddings
    assert torch.equal(loaded.output.weight, state["lm_head.weight"])


def test_the_embeddings_rows_come_before_the_config(tmp_path: Path) -> None:
    """As in checkpoints with one token added, whose config still says 32000."""
    model = random_model()
    save(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"vocab_size": 300}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.warns(UserWarning, match="301 rows"):
        loaded, _ = load(tmp_path)
    assert same(model, loaded)


def test_the_tokenizer_goes_along_with_the_same_ids(tmp_path: Path) -> None:
    text = "The quick brown fox jumps over the lazy dog. 0123456789\n" * 30
    tokenizer = train_sentencepiece([text], 300)
    model = random_model(vocab_size=300)
    save(model, tmp_path, tokenizer=tokenizer)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (1, 2)
    assert config["torch_dtype"] == "float32"
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    _, ours = load(tmp_path)
    for sample in ("The lazy fox, 1905", "  two  spaces\n", "über 🦙"):
        assert ours.encode(sample, bos=True) == tokenizer.encode(sample, bos=True)
        assert theirs(sample)["input_ids"] == tokenizer.encode(sample, bos=True)
    for format in ("meta", "llama2c"):
        save(model, tmp_path / format, format, tokenizer=tokenizer)
        _, again = quiet_load(tmp_path / format)
        assert again.encode("The lazy fox") == tokenizer.encode("The lazy fox")
        assert inspect_checkpoint(tmp_path / format).tokenizer == "SentencePieceTokenizer"


def test_tokenizers_of_another_size(tmp_path: Path) -> None:
    tokenizer = train_sentencepiece(["some words that are to be tokens. " * 30], 290)
    with pytest.raises(CourseError, match="290 ids and the model's embedding has 280 rows"):
        save(random_model(vocab_size=280), tmp_path / "x", tokenizer=tokenizer)
    save(random_model(vocab_size=280), tmp_path / "x")
    tokenizer.save(tmp_path / "x" / "tokenizer.model")
    with pytest.raises(CourseError, match="290 ids and the model's embedding has 280 rows"):
        load(tmp_path / "x")
    save(random_model(vocab_size=320), tmp_path / "padded")
    tokenizer.save(tmp_path / "padded" / "tokenizer.model")
    with pytest.warns(UserWarning, match="320 rows"):
        assert load(tmp_path / "padded")[1] is not None
    with pytest.raises(CourseError, match="save with tokenizer="):
        save(random_model(vocab_size=280), tmp_path / "padded")


def test_metas_tokenizer_in_the_folder_above(tmp_path: Path) -> None:
    tokenizer = train_sentencepiece(["some words that are to be tokens. " * 30], 290)
    tokenizer.save(tmp_path / "tokenizer.model")
    save(random_model(vocab_size=290), tmp_path / "7B", "meta")
    save(random_model(vocab_size=291), tmp_path / "other", "meta")
    save(random_model(vocab_size=290), tmp_path / "hf")
    assert quiet_load(tmp_path / "7B")[1] is not None
    assert quiet_load(tmp_path / "other")[1] is None  # it belongs to something else
    assert quiet_load(tmp_path / "hf")[1] is None
