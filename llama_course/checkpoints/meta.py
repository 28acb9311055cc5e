"""Meta's format: `params.json` and `consolidated.00.pth` ..., one file for each GPU.

A shard holds an equal slice of every matrix; which way it is sliced is in `SHARD_DIM`.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import torch
from torch import Tensor

from llama_course.checkpoints.journal import Files
from llama_course.checkpoints.names import (
    EMBEDDING,
    check_layers,
    check_tensors,
    some,
    weight_shapes,
)
from llama_course.checkpoints.reading import Checkpoint, Stored, check_dtype, read_torch_file
from llama_course.checkpoints.writing import Weights, raw, write_json
from llama_course.config import ModelConfig, read_json
from llama_course.errors import CourseError

# The dimension that is split over the shards; None: every shard has the whole (small) tensor.
SHARD_DIM: dict[str, int | None] = {
    "tok_embeddings": 1,  # LLaMA 1 and 2 split each token's vector; Llama 3 the vocabulary: 0
    "attention.wq": 0,  # whole heads
    "attention.wk": 0,
    "attention.wv": 0,
    "attention.wo": 1,
    "feed_forward.w1": 0,
    "feed_forward.w2": 1,
    "feed_forward.w3": 0,
    "attention_norm": None,
    "ffn_norm": None,
    "norm": None,
    "output": 0,
}

EmbeddingSplit = Literal["dim", "vocab"]
_NUMBERED = re.compile(r"consolidated\.(\d\d)\.pth")


def shard_dim(name: str, embedding_split: EmbeddingSplit = "dim") -> int | None:
    """The dimension along which a tensor is split over the shards, by its full name."""
    if name == EMBEDDING:
        return 1 if embedding_split == "dim" else 0
    short = _short(name)
    if short is None:
        raise CourseError(f"{name} is no tensor of Meta's format; known are {some(SHARD_DIM, 99)}.")
    return SHARD_DIM[short]


def _short(name: str) -> str | None:
    """A tensor's name as in `SHARD_DIM`: without its layer's number; None for one unknown."""
    short = re.sub(r"^layers\.\d+\.", "", name).removesuffix(".weight")
    return short if name.endswith(".weight") and short in SHARD_DIM else None


def embedding_split_of(
    shape: Sequence[int], n_shards: int, dim: int, where: object = "the shards"
) -> EmbeddingSplit:
    """Which way the embedding is split, told from one shard's shape of it."""
    if shape[1] == dim:
        return "vocab"
    if shape[1] * n_shards == dim:
        return "dim"
    raise CourseError(
        f"{where}: the embedding of a shard has shape {tuple(shape)}; with {n_shards} shards and "
        f"dim {dim} it should have {dim // n_shards} or {dim} columns. Are all shards there?"
    )


def merge_shards(
    shards: Sequence[Mapping[str, Tensor]], embedding_split: EmbeddingSplit | None = None
) -> dict[str, Tensor]:
    """Join the shards of one model to whole tensors; an exact operation.

    `embedding_split` None is told from the shapes (`norm.weight` has the model's width).
    Raises `CourseError` where the shards disagree on names, shapes or dtypes.
    """
    kept = [{k: v for k, v in s.items() if not k.endswith("rope.freqs")} for s in shards]
    _check_agreement(kept)
    first = kept[0]
    if embedding_split is None:
        width = first["norm.weight"].shape[0]
        embedding_split = embedding_split_of(first[EMBEDDING].shape, len(kept), width)
    merged = {}
    for name in first:
        dim = shard_dim(name, embedding_split)
        merged[name] = _join([shard[name] for shard in kept], dim)
    return merged


def split_shards(
    state: Mapping[str, Tensor], n_shards: int, embedding_split: EmbeddingSplit = "dim"
) -> list[dict[str, Tensor]]:
    """Slice whole tensors into `n_shards` equal parts (views): `merge_shards` turned round."""
    shards: list[dict[str, Tensor]] = [{} for _ in range(n_shards)]
    for name, tensor in state.items():
        dim = shard_dim(name, embedding_split)
        parts = [tensor] * n_shards if dim is None else tensor.chunk(n_shards, dim)
        for shard, part in zip(shards, parts, strict=True):
            shard[name] = part
    return shards


def _join(parts: Sequence[Tensor], dim: int | None) -> Tensor:
    return parts[0] if dim is None or len(parts) == 1 else torch.cat(list(parts), dim)


def _check_agreement(shards: Sequence[Mapping[str, Tensor]], where: object = "the shards") -> None:
    first = shards[0]
    for i, shard in enumerate(shards[1:], 1):
        if different := set(first) ^ set(shard):
            raise CourseError(
                f"{where}: shards 0 and {i} do not hold the same tensors "
                f"({some(sorted(different))}); are they of one model?"
            )
        for name, tensor in shard.items():
            if tensor.shape != first[name].shape or tensor.dtype != first[name].dtype:
                raise CourseError(
                    f"{where}: {name} is {_words(first[name])} in shard 0 and {_words(tensor)} in "
                    f"shard {i}; shards of one model are alike."
                )


def _words(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


# ---- reading ------------------------------------------------------------------------------------


def recognises(files: Mapping[str, Path]) -> bool:
    """Whether a folder's files look like this format."""
    return any(_NUMBERED.fullmatch(name) for name in files)


def owned(files: Mapping[str, Path]) -> list[str]:
    """The names that belong to a checkpoint of this format."""
    known = ("params.json", "checklist.chk")
    return [name for name in files if _NUMBERED.fullmatch(name) or name in known]


class MetaCheckpoint(Checkpoint):
    """A folder of Meta's."""

    format = "meta"

    def __init__(self, files: Files, given: Mapping[str, Any]) -> None:
        self.folder = files.folder
        paths = _shard_paths(files)
        if "params.json" not in files:
            raise CourseError(
                f"{self.folder} has {paths[0].name} and no params.json, which gives the sizes of "
                "the model; fetch that file too."
            )
        params = read_json(files["params.json"])
        shards = [read_torch_file(path) for path in paths]
        self._shards = [
            {k: v for k, v in shard.items() if not k.endswith("rope.freqs")} for shard in shards
        ]
        self.notes = []
        n = len(self._shards)
        self.variant = f"{n} shard{'s' if n > 1 else ''}"
        first = self._shards[0]
        for name, tensor in first.items():
            check_dtype(tensor.dtype, name, paths[0])
        # The vocabulary is often -1 in the file; the embedding's rows say it in any case.
        self.config, self.assumed = ModelConfig.from_meta(params, **{"vocab_size": 1, **given})
        check_layers(self.config.n_layers, first, self.folder)
        self._check_count(first)
        _check_agreement(self._shards, self.folder)
        self._split: EmbeddingSplit = "dim"
        vocab_size = self.config.vocab_size
        if EMBEDDING in first and first[EMBEDDING].ndim == 2:
            rows, columns = first[EMBEDDING].shape
            self._split = embedding_split_of((rows, columns), n, self.config.dim, self.folder)
            vocab_size = rows * (n if self._split == "vocab" else 1)
        fields = dict(given)
        if fields.get("vocab_size") is None:
            told = _params(params).get("vocab_size", -1)
            fields["vocab_size"] = vocab_size if told in (-1, None) else told
        self.config, self.assumed = ModelConfig.from_meta(params, **fields)
        expected = weight_shapes(self.config)
        check_tensors(expected, {name: self._whole_shape(name) for name in first}, self.folder)
        self.tensors = {name: self._stored(name, shape) for name, shape in expected.items()}

    def _check_count(self, first: Mapping[str, Tensor]) -> None:
        """Tell missing shards from tensors that simply do not fit."""
        name = "layers.0.attention.wq.weight"
        whole = self.config.n_heads * self.config.head_dim
        if name in first and first[name].ndim == 2:
            rows, n = first[name].shape[0], len(self._shards)
            if rows and rows * n != whole and whole % rows == 0 and whole // rows > n:
                raise CourseError(
                    f"{self.folder} has {n} of {whole // rows} shards: {name} has {rows} rows in "
                    f"each, of {whole}; consolidated.{n:02}.pth and those after it are missing."
                )

    def _whole_shape(self, name: str) -> tuple[int, ...]:
        shape = list(self._shards[0][name].shape)
        dim = shard_dim(name, self._split) if _short(name) else None
        if dim is not None and dim < len(shape):
            shape[dim] *= len(self._shards)
        return tuple(shape)

    def _stored(self, name: str, shape: tuple[int, ...]) -> Stored:
        dtype = self._shards[0][name].dtype
        whole = len(self._shards) == 1 or shard_dim(name, self._split) is None
        return Stored(shape, dtype, torch.Size(shape).numel() * dtype.itemsize, mapped=whole)

    def read(self, name: str) -> Tensor:
        parts = [shard[name] for shard in self._shards]
        return _join(parts, shard_dim(name, self._split)).contiguous()


def _params(params: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = params.get("model")
    return inner if isinstance(inner, Mapping) else params


def _shard_paths(files: Files) -> list[Path]:
    numbers = sorted(int(m[1]) for name in files if (m := _NUMBERED.fullmatch(name)))
    if missing := set(range(numbers[-1] + 1)) - set(numbers):
        raise CourseError(
            f"{files.folder} has {len(numbers)} shards up to "
            f"consolidated.{numbers[-1]:02}.pth, and "
            f"{some([f'consolidated.{i:02}.pth' for i in sorted(missing)])} is missing; "
            "fetch all of them."
        )
    return [files[f"consolidated.{i:02}.pth"] for i in numbers]


# ---- writing ------------------------------------------------------------------------------------


def read_back(config: ModelConfig) -> ModelConfig:
    """The config that a reader of our `params.json` would come to."""
    params = json.loads(json.dumps(config.to_meta()))
    return ModelConfig.from_meta(params)[0]


def check_shards(config: ModelConfig, n_shards: int, embedding_split: EmbeddingSplit) -> None:
    """Refuse a number of shards that does not divide what must be divided."""
    if n_shards < 1 or n_shards > 100:
        raise CourseError(f"shards must be from 1 to 100, found {n_shards}.")
    sizes = ["n_heads", "n_kv_heads", "hidden_dim", "vocab_size"]
    if embedding_split == "dim":
        sizes.append("dim")
    for name in sizes:
        if getattr(config, name) % n_shards:
            raise CourseError(
                f"{n_shards} shards cannot be made: each holds an equal part, and {name} is "
                f"{getattr(config, name)}; choose a number of shards that divides it."
            )


def default_split(config: ModelConfig) -> EmbeddingSplit:
    """The dimension of the embedding that Meta splits: since Llama 3's large vocabulary, that."""
    return "vocab" if config.vocab_size > 100_000 else "dim"


def write(folder: Path, weights: Weights, n_shards: int, embedding_split: EmbeddingSplit) -> None:
    """Write `params.json` and the shards; one shard at a time is held where it must be copied."""
    for i in range(n_shards):
        shard = {
            name: _own_storage(_part(weights.read(name), n_shards, i, embedding_split, name))
            for name in weights.tensors
        }
        with (folder / f"consolidated.{i:02}.pth").open("wb") as file:
            try:
                torch.save(shard, cast(BinaryIO, _Counted(file, weights.wrote)))
            except RuntimeError as error:
                # A full disk or Ctrl-C; torch answers with a complaint about the unfinished zip.
                if isinstance(error.__context__, OSError | KeyboardInterrupt):
                    raise error.__context__ from None
                raise
    write_json(folder / "params.json", weights.config.to_meta())


def _part(tensor: Tensor, n: int, i: int, split: EmbeddingSplit, name: str) -> Tensor:
    dim = shard_dim(name, split)
    return tensor if dim is None else tensor.chunk(n, dim)[i]


def _own_storage(tensor: Tensor) -> Tensor:
    """The same numbers alone in their storage: torch.save writes whole storages, not views."""
    flat = torch.frombuffer(raw(tensor), dtype=tensor.dtype)
    return flat.view(tensor.shape)


class _Counted(io.RawIOBase):
    """A file for torch.save that tells how many bytes went by."""

    def __init__(self, file: BinaryIO, wrote: Callable[[int], None]) -> None:
        self._file, self._wrote = file, wrote

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        count = self._file.write(data)
        self._wrote(count)
        return count
