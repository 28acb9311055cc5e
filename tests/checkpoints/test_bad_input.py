"""Whatever is wrong with a checkpoint is told in one sentence that names it."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from samples import SHARDABLE, quiet_load, random_model

from llama_course.checkpoints import inspect_checkpoint, load, save, store
from llama_course.errors import CourseError


def refused(path: Path, pattern: str, **fields: Any) -> None:
    """Both `load` and `inspect_checkpoint` refuse with one sentence that matches."""
    for read in (quiet_load, inspect_checkpoint):
        with pytest.raises(CourseError, match=pattern) as told:
            read(path, **fields)
        text = str(told.value)
        assert "\n" not in text
        assert len(text) < 700


def change_json(path: Path, **changes: Any) -> None:
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in data.items() if v != "gone"}))


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


# ---- what is there at all -----------------------------------------------------------------------


def test_missing_empty_and_unknown(tmp_path: Path) -> None:
    refused(tmp_path / "none", "There is nothing at")
    refused(tmp_path, "is empty")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    refused(tmp_path, r"no checkpoint that is known \(there is photo.jpg\)")
    refused(tmp_path / "photo.jpg", "no checkpoint that is known")
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path, "config.json and no weights")


def test_half_of_a_folder(tmp_path: Path) -> None:
    save(random_model(), tmp_path / "hf")
    (tmp_path / "hf" / "config.json").unlink()
    refused(tmp_path / "hf", "no config.json")
    save(random_model(), tmp_path / "meta", "meta")
    (tmp_path / "meta" / "params.json").unlink()
    refused(tmp_path / "meta", "no params.json")
    (tmp_path / "meta" / "consolidated.00.pth").unlink()
    (tmp_path / "meta" / "params.json").write_text("{}")
    refused(tmp_path / "meta", "params.json and no weights")


def test_two_formats_in_one_folder_need_a_name(tmp_path: Path) -> None:
    model = random_model()
    save(model, tmp_path / "hf")
    save(model, tmp_path / "meta", "meta")
    for file in (tmp_path / "meta").iterdir():
        file.rename(tmp_path / "hf" / file.name)
    refused(tmp_path / "hf", "2 formats")
    assert inspect_checkpoint(tmp_path / "hf" / "consolidated.00.pth").format == "meta"
    assert inspect_checkpoint(tmp_path / "hf" / "model.safetensors").format == "huggingface"


# ---- files cut short ----------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 5, 300, 100_000, -1])
def test_safetensors_cut(tmp_path: Path, length: int) -> None:
    save(random_model(), tmp_path)
    cut(tmp_path / "model.safetensors", length)
    refused(tmp_path, r"model.safetensors is cut short or damaged")


@pytest.mark.parametrize("length", [0, 2, 5, 300, 100_000, -1])
@pytest.mark.parametrize("zipped", [True, False])
def test_pth_cut(tmp_path: Path, length: int, zipped: bool) -> None:
    save(random_model(), tmp_path, "meta")
    file = tmp_path / "consolidated.00.pth"
    torch.save(torch.load(file), file, _use_new_zipfile_serialization=zipped)
    cut(file, length)
    refused(tmp_path, r"consolidated.00.pth \(.*\) is cut short or damaged")


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("length", [0, 5, 27, 30, 200, 100_000, -1])
def test_llama2c_cut(tmp_path: Path, length: int, version: int) -> None:
    save(random_model(), tmp_path, "llama2c", version=version)
    cut(tmp_path / "model.bin", length)
    refused(tmp_path / "model.bin", "cut short")
    refused(tmp_path, "cut short")


def test_llama2c_with_too_much(tmp_path: Path) -> None:
    save(random_model(), tmp_path, "llama2c", version=1)
    with (tmp_path / "model.bin").open("ab") as file:
        file.write(b"1234")
    refused(tmp_path, "too long")


def test_json_cut(tmp_path: Path) -> None:
    save(random_model(), tmp_path / "hf", max_shard_bytes=200_000)
    index = tmp_path / "hf" / "model.safetensors.index.json"
    whole = index.read_text()
    cut(index, 200)
    refused(tmp_path / "hf", "index.json is not valid JSON")
    index.write_text("[]")
    refused(tmp_path / "hf", "should hold a JSON object")
    index.write_text("{}")
    refused(tmp_path / "hf", "no 'weight_map'")
    index.write_text(whole)
    cut(tmp_path / "hf" / "config.json", 100)
    refused(tmp_path / "hf", "config.json is not valid JSON")
    save(random_model(), tmp_path / "meta", "meta")
    (tmp_path / "meta" / "params.json").write_bytes(b"\xff\xfe")
    refused(tmp_path / "meta", "params.json cannot be read")


def test_parts_that_are_missing(tmp_path: Path) -> None:
    save(random_model(), tmp_path, max_shard_bytes=200_000)
    part = next(tmp_path.glob("model-00002-*"))
    kept = part.read_bytes()
    part.unlink()
    refused(
        tmp_path, r"index.json .* names 4 files, and model-00002-of-00004.safetensors is missing"
    )
    part.write_bytes(next(tmp_path.glob("model-00001-*")).read_bytes())
    refused(tmp_path, "and it is not there; the files are of different models")
    part.write_bytes(kept)
    (tmp_path / "model.safetensors.index.json").unlink()
    refused(tmp_path, "no index that says which tensor is where")


def test_shards_that_are_missing_or_disagree(tmp_path: Path) -> None:
    save(random_model(**SHARDABLE), tmp_path, "meta", shards=4)
    files = sorted(tmp_path.glob("*.pth"))
    kept = [file.read_bytes() for file in files]
    files[1].unlink()
    refused(tmp_path, "consolidated.01.pth is missing")
    files[2].unlink()
    files[3].unlink()
    refused(tmp_path, "1 of 4 shards")
    for file, data in zip(files, kept, strict=True):
        file.write_bytes(data)
    state = torch.load(files[2])
    torch.save({k: v for k, v in state.items() if "w2" not in k}, files[2])
    refused(tmp_path, "shards 0 and 2 do not hold the same tensors")
    torch.save({k: v.double() for k, v in state.items()}, files[2])
    refused(tmp_path, r"float32 in shard 0 and .* float64 in shard 2")


# ---- tensors that do not fit --------------------------------------------------------------------

Edit = Callable[[dict[str, torch.Tensor]], Any]
EDITS: dict[str, tuple[Edit, str]] = {
    "shape": (
        lambda s: s.update({_key(s, "w2", "down"): torch.ones(3, 5)}),
        r"shape \(3, 5\).*96, 131",
    ),
    "one dimension": (
        lambda s: s.update({_key(s, "wq", "q_proj"): torch.ones(3)}),
        r"shape \(3,\)",
    ),
    "missing": (lambda s: s.pop(_key(s, "w2", "down")), r"1 missing \(layers.0.feed_forward.w2"),
    "embedding": (lambda s: s.pop(_key(s, "tok_emb", "embed_tok")), r"1 missing \(tok_embeddings"),
    "unknown": (
        lambda s: s.update({f"adapter.{i}.weight": torch.ones(2) for i in range(9)}),
        r"9 unknown \(adapter.0.weight, .* and 6 more\)",
    ),
    "bias": (
        lambda s: s.update({_key(s, "wq", "q_proj").replace("weight", "bias"): torch.ones(96)}),
        r"1 unknown \(.*layers.0.*bias\)",
    ),
    "layer": (
        lambda s: [s.pop(k) for k in list(s) if "layers.1." in k],
        r"config says 2 layers, and the weights have 1 ",
    ),
    "nothing": (lambda s: s.clear(), "the weights have none"),
    "integers": (
        lambda s: s.update({_key(s, "w2", "down"): torch.ones(96, 131, dtype=torch.int8)}),
        "int8|I8",
    ),
    "float8": (
        lambda s: s.update({_key(s, "w2", "down"): torch.ones(96, 131).to(torch.float8_e4m3fn)}),
        "float8|F8_E4M3",
    ),
}


def _key(state: dict[str, torch.Tensor], *parts: str) -> str:
    return next(name for name in state if any(part in name for part in parts))


@pytest.mark.parametrize("edit", EDITS)
def test_tensors_that_do_not_fit(tmp_path: Path, edit: str) -> None:
    change, pattern = EDITS[edit]
    save(random_model(), tmp_path / "hf")
    state = load_file(tmp_path / "hf" / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "hf" / "model.safetensors", metadata={"format": "pt"})
    refused(tmp_path / "hf", pattern)
    save(random_model(), tmp_path / "meta", "meta")
    state = torch.load(tmp_path / "meta" / "consolidated.00.pth")
    change(state)
    torch.save(state, tmp_path / "meta" / "consolidated.00.pth")
    refused(tmp_path / "meta", pattern)


def test_an_untied_model_without_output(tmp_path: Path) -> None:
    save(random_model(tie_embeddings=True), tmp_path)
    change_json(tmp_path / "config.json", tie_word_embeddings=False)
    refused(tmp_path, "tie_embeddings=True")
    assert quiet_load(tmp_path, tie_embeddings=True)[0].output is None


# ---- pickles ------------------------------------------------------------------------------------


class Evil:
    """Runs a command when it is unpickled by a careless reader."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("format", ["meta", "huggingface"])
def test_a_pickle_that_would_run_code(tmp_path: Path, format: str, zipped: bool) -> None:
    model, mark = random_model(), tmp_path / "it-ran"
    save(model, tmp_path / "x", format)
    file = tmp_path / "x" / "consolidated.00.pth"
    if format == "huggingface":
        (tmp_path / "x" / "model.safetensors").unlink()
        file = tmp_path / "x" / "pytorch_model.bin"
    torch.save({"a": Evil(mark)}, file, _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "x", r"asks to run \w+.mkdir.* nothing of it was run")
    assert not mark.exists()
    torch.load(file, weights_only=False)  # the trap does work
    assert mark.exists()


@pytest.mark.parametrize(
    "state", [[torch.ones(3)], {"step": 3}, {"model": {"a": torch.ones(2)}}, 7]
)
def test_files_of_torch_that_are_no_weights(tmp_path: Path, state: Any) -> None:
    save(random_model(), tmp_path, "meta")
    torch.save(state, tmp_path / "consolidated.00.pth")
    refused(tmp_path, "no checkpoint of a model")


# ---- numbers that cannot be ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"num_attention_heads": 7, "num_key_value_heads": 7, "head_dim": None}, "do not divide"),
        ({"num_key_value_heads": 5}, "do not divide"),
        ({"hidden_size": "gone"}, "no 'hidden_size'"),
        ({"hidden_size": "many"}, "dim must be a positive integer"),
        ({"rms_norm_eps": float("nan")}, "norm_eps must be a number"),
        ({"rope_theta": float("inf")}, "rope_theta must be a number"),
        ({"rope_theta": 0}, "rope_theta must be above 0"),
        ({"num_hidden_layers": 10**9}, "config says 1000000000 layers"),
        ({"num_hidden_layers": 0}, "n_layers must be a positive integer"),
        ({"intermediate_size": 10**15}, r"shape \(131, 96\)"),
        ({"model_type": "gpt2"}, "only 'llama'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_scaling": 5}, "rope_scaling should be an object"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2}}, "longrope"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": "x"}}, "factor"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": []}}, "low_freq"),
    ],
)
def test_configs_of_hugging_face(tmp_path: Path, changes: dict[str, Any], pattern: str) -> None:
    save(random_model(), tmp_path)
    change_json(tmp_path / "config.json", **changes)
    refused(tmp_path, pattern)


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"n_heads": 7, "n_kv_heads": 7}, "do not divide"),
        ({"dim": "gone"}, "no 'dim'"),
        ({"dim": float("nan")}, "dim must be a positive integer"),
        ({"norm_eps": float("nan")}, "norm_eps must be a number"),
        ({"multiple_of": 0}, "multiple_of must be a positive integer"),
        ({"multiple_of": 2.5}, "multiple_of must be a positive integer"),
        ({"ffn_dim_multiplier": float("nan")}, "ffn_dim_multiplier must be a number"),
        ({"n_layers": 10**9}, "config says 1000000000 layers"),
        ({"vocab_size": 999}, r"shape \(301, 96\).*\(999, 96\)"),
        ({"dim": 192, "n_heads": 24, "n_kv_heads": 3}, "Are all shards there|192"),
    ],
)
def test_configs_of_meta(tmp_path: Path, changes: dict[str, Any], pattern: str) -> None:
    save(random_model(), tmp_path, "meta")
    change_json(tmp_path / "params.json", **changes)
    refused(tmp_path, pattern)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_headers_of_llama2c(tmp_path: Path, version: int) -> None:
    """Absurd sizes are refused from the header and the size of the file, at once."""
    save(random_model(), tmp_path, "llama2c", version=version)
    file = tmp_path / "model.bin"
    good = file.read_bytes()
    for at in range(7):
        for value in (0, -7, 2**31 - 1, 3):
            if (version > 0 and at == 6 and value > 0) or (at == 4 and value == 3):
                continue  # another context length, or the number that is there anyway
            data = bytearray(good)
            struct.pack_into("<i", data, (0 if version == 0 else 8) + 4 * at, value)
            file.write_bytes(data)
            refused(file, "llama2.c|cut short|too long")


def test_a_later_version_of_llama2c(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(struct.pack("<Ii", 0x616B3432, 7).ljust(400, b"\0"))
    refused(tmp_path, "version 7; known are 0, 1 and 2")


def test_an_absurd_header_of_safetensors(tmp_path: Path) -> None:
    save(random_model(), tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", 2**62) + file.read_bytes()[8:])
    refused(tmp_path, "cut short or damaged")
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    refused(tmp_path, "cut short or damaged")


def test_an_index_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    save(random_model(), tmp_path / "a", max_shard_bytes=200_000)
    save(random_model(), tmp_path / "b")
    index = tmp_path / "a" / "model.safetensors.index.json"
    text = re.sub(r"model-00001-of-00004", "../b/model", index.read_text())
    index.write_text(text)
    refused(tmp_path / "a", "missing")


# ---- arguments ----------------------------------------------------------------------------------


def test_arguments_that_cannot_be(tmp_path: Path) -> None:
    model = random_model()
    save(model, tmp_path / "x")
    for call, pattern in [
        (lambda: load(tmp_path / "x", dtype=torch.int8), "dtype must be one of"),
        (lambda: load(tmp_path / "x", max_seq_length=3), "did you mean max_seq_len"),
        (lambda: save(model, tmp_path / "y", "gguf"), "There is no format 'gguf'"),
        (lambda: save(model, tmp_path / "y", shards=2), "for format='meta'"),
        (lambda: save(model, tmp_path / "y", version=1), "for format='llama2c'"),
        (lambda: save(model, tmp_path / "y", "llama2c", version=3), "0, 1 or 2"),
        (lambda: save(model, tmp_path / "y", drop=["dim"]), "drop cannot name 'dim'"),
        (lambda: save(model.double(), tmp_path / "y", "llama2c"), "float64"),
    ]:
        with pytest.raises(CourseError, match=pattern):
            call()
    assert not (tmp_path / "y").exists()


def test_no_memory_for_the_size_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that says it is small, on a machine that says it is full."""
    save(random_model(torch.bfloat16), tmp_path)
    from llama_course.checkpoints import filling

    monkeypatch.setattr(filling, "free_memory", lambda device: 500_000)
    with pytest.raises(
        CourseError, match=r"in float32: it needs 719.2 kB on cpu, and 500.0 kB .*torch.bfloat16"
    ):
        load(tmp_path, dtype=torch.float32)
    load(tmp_path, dtype=torch.bfloat16)  # mapped: only q and k are copied
    monkeypatch.setattr(filling, "free_memory", lambda device: 100)
    with pytest.raises(CourseError, match="choose a smaller model"):
        load(tmp_path, dtype=torch.float16)
    assert store.AssumedField.__mro__[1] is UserWarning
