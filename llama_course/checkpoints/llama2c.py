"""llama2.c's format: one `.bin` file, a header of a few integers and then all the numbers.

Version 0 has float32 behind 28 bytes, version 1 float32 behind a header of 256 bytes, version 2
8-bit integers in groups with a float32 scale each (Q8_0). The layout of q and k is Meta's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from llama_course.checkpoints.names import EMBEDDING, HEAD, weight_shapes
from llama_course.checkpoints.reading import Checkpoint, Stored, gigabytes
from llama_course.checkpoints.writing import Weights, write_bytes
from llama_course.config import ModelConfig, merged_fields
from llama_course.errors import CourseError
from llama_course.model.rope import rope_angles

MAGIC = 0x616B3432  # "ak42"; a file of version 0 has none
HEADER_BYTES = 256  # of versions 1 and 2
GROUP = 64

# The blocks in the order of the file; each holds that weight of all layers. Last comes the
# classifier (`output`), where it is not the embedding.
BLOCKS_V0 = (
    "tok_embeddings",
    "attention_norm",
    "attention.wq",
    "attention.wk",
    "attention.wv",
    "attention.wo",
    "ffn_norm",
    "feed_forward.w1",
    "feed_forward.w2",
    "feed_forward.w3",
    "norm",
    "",  # two tables of old: cosine and sine for every position, which nobody reads
)
BLOCKS_V1 = (
    "attention_norm",
    "ffn_norm",
    "norm",
    "tok_embeddings",
    "attention.wq",
    "attention.wk",
    "attention.wv",
    "attention.wo",
    "feed_forward.w1",
    "feed_forward.w2",
    "feed_forward.w3",
)
# What the header cannot say, and what llama2.c computes with. (Nor does it know RoPE scaling.)
ASSUMED: dict[str, Any] = {"norm_eps": 1e-5, "rope_theta": 10_000.0}


@dataclass(frozen=True)
class Header:
    """The numbers at the start of a file."""

    version: int
    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    max_seq_len: int
    shared: bool
    group: int = 0

    @classmethod
    def of(cls, config: ModelConfig, version: int) -> Header:
        """The header of a config; what it cannot say is left out."""
        sizes = {name: getattr(config, name) for name in _SIZES}
        group = group_size(config.dim) if version == 2 else 0
        return cls(version, **sizes, shared=config.tie_embeddings, group=group)

    def fields(self) -> dict[str, Any]:
        """The fields of a `ModelConfig`."""
        return {name: getattr(self, name) for name in _SIZES} | {"tie_embeddings": self.shared}

    def pack(self) -> bytes:
        """The bytes of the header, padded."""
        sizes = [getattr(self, name) for name in _SIZES]
        if self.version == 0:
            if not self.shared:
                sizes[5] = -sizes[5]  # the sign of the vocabulary says that there is a classifier
            return struct.pack("<7i", *sizes)
        packed = struct.pack("<Ii7iB", MAGIC, self.version, *sizes, self.shared)
        if self.version == 2:
            packed += struct.pack("<i", self.group)
        return packed.ljust(HEADER_BYTES, b"\0")

    @property
    def start(self) -> int:
        """Where the numbers begin, in bytes."""
        return 28 if self.version == 0 else HEADER_BYTES


_SIZES = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "max_seq_len")


def group_size(dim: int) -> int:
    """The group of Q8_0: 64 numbers, halved until it divides the model's width."""
    group = GROUP
    while dim % group:
        group //= 2
    return group


def quantize(
    values: Float[Tensor, " n"], group: int
) -> tuple[Int8[Tensor, " n"], Float[Tensor, " groups"]]:
    """Q8_0: in each group the largest magnitude becomes 127; symmetric, nearest integer.

    The value that is read again differs by half a step (its group's scale) at most.
    """
    groups = values.float().view(-1, group)
    scales = groups.abs().amax(dim=1) / 127.0
    steps = torch.where(scales > 0, scales, 1.0)[:, None]
    return (groups / steps).round().to(torch.int8).flatten(), scales


def dequantize(values: Int8[Tensor, " n"], scales: Float[Tensor, " groups"]) -> Float[Tensor, " n"]:
    """The float32 numbers that Q8_0 integers and scales stand for."""
    return (values.view(len(scales), -1).float() * scales[:, None]).flatten()


def read_header(path: Path) -> Header | None:
    """The header of a file, or None where the file is none of llama2.c's."""
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    if len(start) < 28 or start[:4] == b"PK\x03\x04":
        return None
    magic, version = struct.unpack_from("<Ii", start)
    if magic == MAGIC:
        if version not in (1, 2):
            raise CourseError(f"{path} is of llama2.c's version {version}; known are 0, 1 and 2.")
        if len(start) < HEADER_BYTES:
            raise CourseError(f"{path} is cut short: its header has {len(start)} of 256 bytes.")
        sizes = struct.unpack_from("<7i", start, 8)
        group = struct.unpack_from("<i", start, 37)[0] if version == 2 else 0
        named = dict(zip(_SIZES, sizes, strict=True))
        header = Header(version, **named, shared=bool(start[36]), group=group)
    else:
        sizes = struct.unpack_from("<7i", start)
        named = dict(zip(_SIZES, sizes, strict=True))
        shared = named["vocab_size"] > 0
        named["vocab_size"] = abs(named["vocab_size"])
        header = Header(0, **named, shared=shared)
    plausible = (
        all(getattr(header, name) > 0 for name in _SIZES)
        and header.dim % header.n_heads == 0
        and header.n_heads % header.n_kv_heads == 0
        and (header.version != 2 or (header.group > 0 and header.dim % header.group == 0))
    )
    if plausible:
        return header
    if header.version:
        raise CourseError(
            f"{path} has a header of llama2.c's version {version} with numbers that cannot be: "
            f"{', '.join(f'{name} {getattr(header, name)}' for name in _SIZES)}; it is damaged."
        )
    return None


def block_bytes(header: Header) -> Iterator[tuple[str, int, int]]:
    """Each block's name, how many tensors it has, and the bytes of one; in the file's order.

    Plain integers only: nothing is made of a size that a damaged header gives.
    """
    width = header.dim // header.n_heads * header.n_kv_heads
    matrix, table = header.dim * header.dim, header.vocab_size * header.dim
    numel = {
        "tok_embeddings": table,
        "attention.wq": matrix,
        "attention.wk": width * header.dim,
        "attention.wv": width * header.dim,
        "attention.wo": matrix,
        "feed_forward.w1": header.hidden_dim * header.dim,
        "feed_forward.w2": header.hidden_dim * header.dim,
        "feed_forward.w3": header.hidden_dim * header.dim,
        "attention_norm": header.dim,
        "ffn_norm": header.dim,
        "norm": header.dim,
        "output": table,
        "": header.max_seq_len * (header.dim // header.n_heads // 2) * 2,
    }
    blocks = BLOCKS_V0 if header.version == 0 else BLOCKS_V1
    for name in blocks if header.shared else (*blocks, "output"):
        count = header.n_layers if "." in name or name in ("attention_norm", "ffn_norm") else 1
        n = numel[name]
        packed = header.version == 2 and not name.endswith("norm")
        yield name, count, n + n // header.group * 4 if packed else n * 4


def file_bytes(header: Header) -> int:
    """The exact size of a file with this header."""
    return header.start + sum(count * nbytes for _, count, nbytes in block_bytes(header))


# ---- reading ------------------------------------------------------------------------------------


def recognises(path: Path) -> bool:
    """Whether a file is one of llama2.c's. Version 0 has no magic number: its size must fit."""
    if path.suffix != ".bin" or path.name == "tokenizer.bin":
        return False
    header = read_header(path)
    if header is None:
        return False
    return header.version > 0 or path.stat().st_size == file_bytes(header)


class Llama2cCheckpoint(Checkpoint):
    """One `.bin` file."""

    format = "llama2c"

    def __init__(self, path: Path, given: Mapping[str, Any]) -> None:
        self.folder = path.parent
        self.notes = []
        header = read_header(path)
        if header is None:
            raise CourseError(
                f"{path} ({gigabytes(path.stat().st_size)}) is no model of llama2.c, or cut short: "
                "its first 28 bytes are no sizes of a model."
            )
        self._header = header
        self.variant = f"version {header.version}"
        expected, found = file_bytes(header), path.stat().st_size
        if expected != found:
            state = "cut short" if found < expected else "too long, or no model of llama2.c"
            raise CourseError(
                f"{path} is {state}: its header (version {header.version}) asks for {expected:,} "
                f"bytes ({gigabytes(expected)}), and the file has {found:,}; fetch it again."
            )
        self.assumed = {name: value for name, value in ASSUMED.items() if name not in given}
        self.config = ModelConfig(**merged_fields({**header.fields(), **self.assumed}, given))
        self._check_given(path)
        self._starts = _starts(header)
        # The whole file as bytes: private pages, so that training never reaches the file.
        self._bytes = torch.from_file(str(path), shared=False, size=found, dtype=torch.uint8)
        self.tensors = {
            name: self._stored(name, s) for name, s in weight_shapes(self.config).items()
        }

    def _check_given(self, path: Path) -> None:
        told = ModelConfig(**self._header.fields())
        shapes, told_shapes = weight_shapes(self.config), weight_shapes(told)
        if shapes != told_shapes:
            raise CourseError(
                f"{path}: the fields that were given ask for other tensors than the file has; "
                f"it has {', '.join(f'{n} {v}' for n, v in self._header.fields().items())}."
            )

    def _packed(self, name: str) -> bool:
        return self._header.version == 2 and not name.endswith("norm.weight")

    def _stored(self, name: str, shape: tuple[int, ...]) -> Stored:
        n = torch.Size(shape).numel()
        if self._packed(name):
            nbytes = n + n // self._header.group * 4
            return Stored(shape, torch.float32, nbytes, mapped=False, packed="q8_0")
        return Stored(shape, torch.float32, n * 4)

    def read(self, name: str) -> Tensor:
        shape, start = self.tensors[name].shape, self._starts[name]
        n = self.tensors[name].numel
        if not self._packed(name):
            return self._bytes[start : start + 4 * n].view(torch.float32).view(shape)
        values = self._bytes[start : start + n].view(torch.int8)
        end = start + self.tensors[name].nbytes
        scales = self._bytes[start + n : end].clone().view(torch.float32)  # it may be unaligned
        return dequantize(values, scales).view(shape)


def _starts(header: Header) -> dict[str, int]:
    """Where each tensor begins, in bytes, by Meta's name."""
    starts, at = {}, header.start
    for block, count, nbytes in block_bytes(header):
        for name in _tensor_names(block, header.n_layers):
            starts[name] = at
            at += nbytes
        if not block:
            at += count * nbytes
    return starts


def _tensor_names(block: str, n_layers: int) -> list[str]:
    if not block:
        return []
    if f"{block}.weight" in (EMBEDDING, HEAD, "norm.weight"):
        return [f"{block}.weight"]
    return [f"layers.{i}.{block}.weight" for i in range(n_layers)]


# ---- writing ------------------------------------------------------------------------------------


def read_back(config: ModelConfig, version: int) -> ModelConfig:
    """The config that a reader of our header would come to."""
    return ModelConfig(**Header.of(config, version).fields(), **ASSUMED)


def write(path: Path, weights: Weights, version: int) -> None:
    """Write one file, tensor by tensor."""
    config = weights.config
    header = Header.of(config, version)
    with path.open("wb") as file:
        file.write(header.pack())
        for block, _, _ in block_bytes(header):
            if not block:
                _write_tables(file, config)
            for name in _tensor_names(block, config.n_layers):
                values = weights.read(name).flatten().float()
                if version == 2 and not name.endswith("norm.weight"):
                    for part in quantize(values, header.group):
                        write_bytes(file, part, weights.wrote)
                else:
                    write_bytes(file, values, weights.wrote)


def _write_tables(file: BinaryIO, config: ModelConfig) -> None:
    """The tables of version 0, cosine then sine, in pieces: a long context makes them large."""
    for which in (0, 1):
        for start in range(0, config.max_seq_len, 8192):
            positions = torch.arange(start, min(start + 8192, config.max_seq_len))
            angles = rope_angles(positions, config.head_dim, config.rope_theta)
            write_bytes(file, angles[which])
