"""Hugging Face's format: `config.json` and safetensors files, or older `pytorch_model.bin` ones.

The same numbers as Meta's under other names, with the rows of q and k in another order: RoPE
turns neighbours in Meta's layout, and the first half of a head against the second half here.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from llama_course.checkpoints.journal import Files
from llama_course.checkpoints.names import (
    EMBEDDING,
    HEAD,
    check_layers,
    check_tensors,
    some,
    weight_shapes,
)
from llama_course.checkpoints.reading import (
    Checkpoint,
    SafetensorsFile,
    Stored,
    check_dtype,
    dtype_name,
    read_torch_file,
)
from llama_course.checkpoints.writing import Weights, write_json, write_safetensors
from llama_course.config import ModelConfig, read_json
from llama_course.errors import CourseError

# Meta's name -> Hugging Face's, both without `.weight`.
NAMES = {
    "tok_embeddings": "model.embed_tokens",
    "norm": "model.norm",
    "output": "lm_head",
}
LAYER_NAMES = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}

# Where a folder's weights are: the first of these that is there, as transformers looks.
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
OLD_SINGLE, OLD_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
WEIGHT_FILES = (SINGLE, INDEX, OLD_SINGLE, OLD_INDEX)
_SHARD = re.compile(r"(model|pytorch_model)-(\w+-)?\d{5}-of-\d{5}\.(safetensors|bin)")


def huggingface_to_meta_rows(
    weight: Shaped[Tensor, "rows *columns"], n_heads: int
) -> Shaped[Tensor, "rows *columns"]:
    """Reorder the rows of q or k so that the partners of a rotation are neighbours.

    In each head, row `p * half + i` (half p, pair i) becomes row `2 * i + p`. An exact
    relabelling. `n_heads` is the number of *key* heads for k.
    """
    head = weight.unflatten(0, (n_heads, 2, -1))  # (heads, 2 halves, pairs, ...)
    return head.transpose(1, 2).reshape(weight.shape)


def meta_to_huggingface_rows(
    weight: Shaped[Tensor, "rows *columns"], n_heads: int
) -> Shaped[Tensor, "rows *columns"]:
    """`huggingface_to_meta_rows` undone: even rows of a head first, then its odd rows."""
    head = weight.unflatten(0, (n_heads, -1, 2))  # (heads, pairs, 2 partners, ...)
    return head.transpose(1, 2).reshape(weight.shape)


def huggingface_name(name: str) -> str:
    """Hugging Face's name for Meta's: `layers.3.feed_forward.w2.weight` is `...down_proj...`."""
    short = name.removesuffix(".weight")
    if match := re.fullmatch(r"layers\.(\d+)\.(.+)", short):
        return f"model.layers.{match[1]}.{LAYER_NAMES[match[2]]}.weight"
    return f"{NAMES[short]}.weight"


_META_LAYER_NAMES = {theirs: ours for ours, theirs in LAYER_NAMES.items()}
_META_NAMES = {theirs: ours for ours, theirs in NAMES.items()}


def meta_name(name: str) -> str | None:
    """Meta's name for Hugging Face's; None where there is none."""
    short = name.removesuffix(".weight")
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", short)
    if not name.endswith(".weight"):
        return None
    if match is None:
        return f"{_META_NAMES[short]}.weight" if short in _META_NAMES else None
    ours = _META_LAYER_NAMES.get(match[2])
    return f"layers.{match[1]}.{ours}.weight" if ours else None


def heads_to_permute(name: str, config: ModelConfig) -> int | None:
    """The number of heads whose rows change their order; None for all but q and k."""
    if name.endswith("attention.wq.weight"):
        return config.n_heads
    if name.endswith("attention.wk.weight"):
        return config.n_kv_heads
    return None


def huggingface_to_meta(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """A Hugging Face state dict with Meta's names and Meta's order of rows in q and k."""
    out = {}
    for theirs, tensor in state.items():
        if theirs.endswith("rotary_emb.inv_freq"):  # a table that older versions stored
            continue
        name = meta_name(theirs)
        if name is None:
            raise CourseError(f"{theirs} is no tensor of a Hugging Face LLaMA.")
        n_heads = heads_to_permute(name, config)
        out[name] = huggingface_to_meta_rows(tensor, n_heads) if n_heads else tensor
    return out


def meta_to_huggingface(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """`huggingface_to_meta` undone."""
    out = {}
    for name, tensor in state.items():
        n_heads = heads_to_permute(name, config)
        moved = meta_to_huggingface_rows(tensor, n_heads) if n_heads else tensor
        out[huggingface_name(name)] = moved
    return out


# ---- reading ------------------------------------------------------------------------------------


def recognises(files: Mapping[str, Path]) -> bool:
    """Whether a folder's files look like this format."""
    return any(name in files for name in WEIGHT_FILES) or any(map(_SHARD.fullmatch, files))


def owned(files: Mapping[str, Path]) -> list[str]:
    """The names that belong to a checkpoint of this format."""
    names = {"config.json", *WEIGHT_FILES, *(name for name in files if _SHARD.fullmatch(name))}
    for index in (INDEX, OLD_INDEX):
        if index in files:
            names |= set(read_json(files[index]).get("weight_map", {}).values())
    return sorted(names.intersection(files))


class HuggingFaceCheckpoint(Checkpoint):
    """A folder of Hugging Face's."""

    format = "huggingface"

    def __init__(self, files: Files, given: Mapping[str, Any]) -> None:
        self.folder = files.folder
        if "config.json" not in files:
            raise CourseError(
                f"{self.folder} has weights and no config.json, which gives the sizes of the "
                "model; fetch that file too."
            )
        config = read_json(files["config.json"])
        self.config, self.assumed = ModelConfig.from_huggingface(config, **given)
        self.notes = []
        self._files = self._open(files)
        where = self._where = {
            theirs: file for file in self._files for theirs in self._files[file].names
        }
        theirs_by_name: dict[str, str] = {}
        unknown = []
        for theirs in where:
            if theirs.endswith("rotary_emb.inv_freq"):
                continue
            name = meta_name(theirs)
            theirs_by_name[name or theirs] = theirs
            if name is None:
                unknown.append(theirs)
        self._theirs = theirs_by_name
        check_layers(self.config.n_layers, where, self.folder)
        listed = {name: self._describe(name) for name in theirs_by_name if name not in unknown}
        self._trust_rows(listed, given)
        expected = weight_shapes(self.config)
        found = {name: stored.shape for name, stored in listed.items()}
        found |= {theirs: () for theirs in unknown}
        if self.config.tie_embeddings and HEAD in found:
            # Stored though it is tied: `confirm` looks whether it really is the same.
            expected[HEAD] = expected[EMBEDDING]
        check_tensors(expected, found, self.folder)
        self._second_head = (
            listed.pop(HEAD) if self.config.tie_embeddings and HEAD in listed else None
        )
        self.tensors = {name: listed[name] for name in expected if name in listed}

    def _trust_rows(self, listed: Mapping[str, Stored], given: Mapping[str, Any]) -> None:
        """The embedding's rows come before the file's vocab_size, which is often left behind."""
        shape = listed[EMBEDDING].shape if EMBEDDING in listed else ()
        told = self.config.vocab_size
        if len(shape) != 2 or shape[0] in (0, told) or "vocab_size" in given:
            return
        self.config = replace(self.config, vocab_size=shape[0])
        self.notes.append(
            f"{self.folder}: config.json says vocab_size {told}, and the embedding has {shape[0]} "
            "rows, which was taken."
        )

    def _open(self, files: Files) -> dict[str, _File]:
        """The files that hold the weights, by name; what a folder should have is looked up here."""
        kind = next((name for name in WEIGHT_FILES if name in files), None)
        if kind is None:
            raise CourseError(
                f"{self.folder} has parts of a model, such as "
                f"{next(name for name in files if _SHARD.fullmatch(name))}, and no index that says "
                f"which tensor is where; fetch {INDEX} too."
            )
        if kind in (SINGLE, OLD_SINGLE):
            self.variant = kind
            return {kind: _open_file(files[kind])}
        weight_map = read_json(files[kind]).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CourseError(f"{files[kind]} has no 'weight_map'; fetch it again.")
        names = sorted(set(map(str, weight_map.values())))
        if missing := [name for name in names if name not in files]:
            raise CourseError(
                f"{files[kind].name} in {self.folder} names {len(names)} files, and "
                f"{some(missing)} {'is' if len(missing) == 1 else 'are'} missing; "
                "fetch all of them."
            )
        self.variant = f"{len(names)} files, {kind}"
        opened = {name: _open_file(files[name]) for name in names}
        for theirs, name in weight_map.items():
            if theirs not in opened[str(name)].names:
                raise CourseError(
                    f"{files[kind].name} in {self.folder} says that {theirs} is in {name}, and it "
                    "is not there; the files are of different models, so fetch them again."
                )
        return opened

    def _describe(self, name: str) -> Stored:
        theirs = self._theirs[name]
        stored = self._files[self._where[theirs]].describe(theirs)
        # Reordering rows needs new memory; everything else is as it must be in the file.
        return replace(stored, mapped=heads_to_permute(name, self.config) is None)

    def read(self, name: str) -> Tensor:
        theirs = self._theirs[name]
        tensor = self._files[self._where[theirs]].read(theirs)
        n_heads = heads_to_permute(name, self.config)
        return (huggingface_to_meta_rows(tensor, n_heads) if n_heads else tensor).contiguous()

    def confirm(self) -> None:
        """Settle a model that says it is tied and stores an output all the same.

        Equal to the embedding, it is a needless copy. Different, it was trained apart: the
        model is then untied, whatever config.json says.
        """
        if self._second_head is None or torch.equal(self.read(HEAD), self.read(EMBEDDING)):
            return
        self.config = replace(self.config, tie_embeddings=False)
        self.tensors[HEAD] = self._second_head
        self._second_head = None
        self.notes.append(
            f"{self.folder}: config.json says tie_word_embeddings, and lm_head.weight differs from "
            "the embedding; it was loaded with an output of its own (tie_embeddings=False)."
        )


class _TorchFile:
    """A `.bin` file with the little interface of `SafetensorsFile`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state = read_torch_file(path)
        self.names = list(self._state)

    def describe(self, name: str) -> Stored:
        tensor = self._state[name]
        check_dtype(tensor.dtype, name, self.path)
        return Stored(tuple(tensor.shape), tensor.dtype, tensor.nbytes)

    def read(self, name: str) -> Tensor:
        return self._state[name]


_File = SafetensorsFile | _TorchFile


def _open_file(path: Path) -> _File:
    return SafetensorsFile(path) if path.suffix == ".safetensors" else _TorchFile(path)


# ---- writing ------------------------------------------------------------------------------------


def read_back(config: ModelConfig) -> ModelConfig:
    """The config that a reader of our `config.json` would come to."""
    written = json.loads(json.dumps(config.to_huggingface()))
    return ModelConfig.from_huggingface(written)[0]


def plan(weights: Weights, max_shard_bytes: int) -> list[list[str]]:
    """Which tensors (Meta's names) go into which file: in order, as many as fit."""
    files: list[list[str]] = [[]]
    size = 0
    for name in weights.tensors:
        nbytes = weights.nbytes_of(name)
        if files[-1] and size + nbytes > max_shard_bytes:
            files.append([])
            size = 0
        files[-1].append(name)
        size += nbytes
    return files


def write(
    folder: Path,
    weights: Weights,
    max_shard_bytes: int,
    taken: Mapping[str, Path],
    special: Mapping[str, int | None],
) -> None:
    """Write config.json and the weights, in one file or in several with an index.

    `taken` are the names in the folder where the files will go: parts get names that are not
    among them, so that the old index never meets a new part. `special` are `bos_token_id` and
    `eos_token_id`, None where they are not known.
    """
    config = weights.config

    def read(name: str) -> Tensor:
        n_heads = heads_to_permute(name, config)
        tensor = weights.read(name)
        return meta_to_huggingface_rows(tensor, n_heads) if n_heads else tensor

    groups = plan(weights, max_shard_bytes)
    paths = [SINGLE]
    if len(groups) > 1:
        n = len(groups)
        paths = [f"model-{i:05}-of-{n:05}.safetensors" for i in range(1, n + 1)]
        if any(path in taken for path in paths):
            fresh = secrets.token_hex(4)
            paths = [path.replace("model-", f"model-{fresh}-") for path in paths]
    weight_map: dict[str, str] = {}
    for path, names in zip(paths, groups, strict=True):
        pairs = [(huggingface_name(name), name) for name in names]
        write_safetensors(folder / path, pairs, weights, read)
        weight_map |= {theirs: path for theirs, _ in pairs}
    out = config.to_huggingface()
    out["torch_dtype"] = dtype_name(weights.dtype_of(EMBEDDING))
    out |= {key: value for key, value in special.items() if value is not None}
    write_json(folder / "config.json", out)
    if len(groups) > 1:
        index = {"metadata": {"total_size": weights.nbytes}, "weight_map": weight_map}
        write_json(folder / INDEX, index)
