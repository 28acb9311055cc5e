"""`load` and `save`: any format, any size, through one door."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from llama_course.checkpoints import huggingface, llama2c, meta
from llama_course.checkpoints.filling import (
    Build,
    build_empty,
    check_memory,
    check_parameters,
    fill,
)
from llama_course.checkpoints.journal import Files, replacing
from llama_course.checkpoints.names import EMBEDDING, HEAD, check_tensors, some, weight_shapes
from llama_course.checkpoints.opening import FORMATS, formats_in, llama2c_files, open_checkpoint
from llama_course.checkpoints.progress import bar
from llama_course.checkpoints.reading import FLOATS, dtype_name, gigabytes
from llama_course.checkpoints.tokenizer_files import (
    TOKENIZER_FILES,
    check_size,
    find_tokenizer,
    write_tokenizer,
)
from llama_course.checkpoints.writing import Weights
from llama_course.config import ModelConfig, read_json
from llama_course.errors import CourseError, nearest
from llama_course.hardware import free_disk
from llama_course.model import Llama
from llama_course.tokenizers import Tokenizer, read_tokenizer

# A format that cannot say one of these fields may still be written if the caller gives it up;
# all other fields fix the shapes of the weights.
MAY_DROP = ("max_seq_len", "norm_eps", "rope_theta", "rope_scaling", "tie_embeddings")


class AssumedField(UserWarning):
    """A field of the config that the checkpoint does not say, and the value that was taken."""


def load(
    path: str | Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    build: Build = Llama,
    *,
    progress: bool | None = None,
    **fields: Any,
) -> tuple[Any, Tokenizer | None]:
    """The model at `path`, ready to generate (in eval mode), and its tokenizer or None.

    `path` is a folder of Meta's or Hugging Face's, a `.bin` file of llama2.c, or a file of a
    folder; the content tells the format. `dtype` None keeps the file's. `fields` are those of
    `ModelConfig` and come before the file's: give what a format lacks (`max_seq_len`,
    `norm_eps`, `rope_theta`, `rope_scaling`); what had to be assumed is told as an `AssumedField`
    warning. `build(config)` makes the model: any class whose parameters have Meta's names.
    `progress` None shows a bar for large models only.

    On a processor, in the file's own dtype, the weights stay mapped from the files: loading costs
    no memory, and what training writes to them never reaches the files. What must be rearranged
    is copied: q and k of Hugging Face (2 of a layer's 9 tensors), shards that are joined, Q8_0.
    No second copy of the model is ever held.

    Raises `CourseError` for what is missing, damaged or does not fit, before anything large is
    allocated.
    """
    if dtype is not None and dtype not in FLOATS:
        known = ", ".join(f"torch.{dtype_name(d)}" for d in FLOATS)
        raise CourseError(f"dtype must be one of {known}, found {dtype!r}.")
    device = torch.device(device)
    checkpoint, files = open_checkpoint(path, fields)
    checkpoint.confirm()
    if checkpoint.assumed:
        told = ", ".join(f"{name}={value!r}" for name, value in checkpoint.assumed.items())
        warnings.warn(
            f"{path} does not say {', '.join(checkpoint.assumed)}; assumed: {told}. "
            f"Give what differs as load(..., {next(iter(checkpoint.assumed))}=...).",
            AssumedField,
            stacklevel=2,
        )
    for note in checkpoint.notes:
        warnings.warn(note, stacklevel=2)
    config = checkpoint.config
    tokenizer = find_tokenizer(files, checkpoint.format, config.vocab_size)
    model = build_empty(build, config)
    check_parameters(model, checkpoint)
    check_memory(config, checkpoint.tensors, dtype, device)
    total = sum(stored.nbytes for stored in checkpoint.tensors.values())
    with bar("loading", total, progress) as done:
        fill(model, checkpoint, dtype, device, done)
    return model.eval(), tokenizer


def save(
    model: nn.Module,
    path: str | Path,
    format: str = "huggingface",
    tokenizer: Tokenizer | None = None,
    *,
    shards: int = 1,
    dtype: torch.dtype | None = None,
    version: int = 0,
    max_shard_bytes: int = 5 * 10**9,
    embedding_split: Literal["dim", "vocab"] | None = None,
    drop: Sequence[str] = (),
    progress: bool | None = None,
) -> None:
    """Write the model as a checkpoint; with a tokenizer, everything that reads text in its folder.

    `path` is a folder, or for llama2.c a `.bin` file. Meta's format takes `shards` and
    `embedding_split` (None: "vocab" for vocabularies above 100,000, as in Llama 3), Hugging
    Face's `max_shard_bytes`, llama2.c's `version` (0 and 1 float32, 2 8-bit integers). `dtype`
    None keeps the model's.

    Whenever it is stopped, the old or the new checkpoint can be loaded, never a mixture, also
    where `model` is mapped from these very files. A checkpoint of the same format is replaced;
    other files of the folder stay.

    Raises `CourseError` where the format cannot say a field of the config, unless `drop` names
    it: a reader then assumes the format's own value. Also for a folder with a checkpoint of
    another format, a full disk, and a model whose parameters are not LLaMA's (a quantized or
    adapted one: bring it back to plain weights first).
    """
    path = Path(path)
    _check_options(format, shards, version, embedding_split, max_shard_bytes)
    config, tensors = _named_weights(model)
    config = _expressible(config, format, version, drop)
    if HEAD not in tensors and not config.tie_embeddings:
        tensors[HEAD] = tensors[EMBEDDING]  # the tie was given up: the same numbers twice
    _check_dtypes(tensors, format, dtype)
    split = embedding_split or meta.default_split(config)
    if format == "meta":
        meta.check_shards(config, shards, split)
    if tokenizer is not None:
        check_size(tokenizer, config.vocab_size, path)
    try:
        folder, name = _target(path, format, tokenizer)
        _check_old_tokenizer(folder, tokenizer, config.vocab_size)
        total = sum(t.numel() * (dtype or t.dtype).itemsize for t in tensors.values())
        if format == "llama2c":
            total = llama2c.file_bytes(llama2c.Header.of(config, version))
        _check_disk(folder, total)

        def old(new: set[str]) -> set[str]:
            return _replaced(Files(folder), format, tokenizer is not None)

        with (
            bar("saving", total, progress) as done,
            replacing(folder, old, _move_order) as staging,
        ):
            weights = Weights(config, tensors, dtype, done)
            if format == "huggingface":
                special = {f"{n}_token_id": _special_id(tokenizer, n) for n in ("bos", "eos")}
                huggingface.write(staging, weights, max_shard_bytes, Files(folder), special)
            elif format == "meta":
                meta.write(staging, weights, shards, split)
            else:
                llama2c.write(staging / name, weights, version)
            if tokenizer is not None:
                write_tokenizer(tokenizer, staging, format)
    except OSError as error:
        raise CourseError(
            f"{path} could not be written: {error.strerror or error}; what was there before is "
            "untouched."
        ) from error


def _check_options(
    format: str, shards: int, version: int, embedding_split: str | None, max_shard_bytes: int
) -> None:
    if format not in FORMATS:
        raise CourseError(f"There is no format {format!r}; {nearest(str(format), FORMATS)}")
    if format != "meta" and (shards != 1 or embedding_split is not None):
        raise CourseError(f"shards and embedding_split are for format='meta', not {format!r}.")
    if embedding_split not in (None, "dim", "vocab"):
        raise CourseError(f"embedding_split must be 'dim' or 'vocab', found {embedding_split!r}.")
    if format != "llama2c" and version != 0:
        raise CourseError(f"version is for format='llama2c', not {format!r}.")
    if version not in (0, 1, 2):
        raise CourseError(f"llama2.c's version must be 0, 1 or 2, found {version!r}.")
    if max_shard_bytes < 1:
        raise CourseError(f"max_shard_bytes must be at least 1, found {max_shard_bytes!r}.")


def _named_weights(model: nn.Module) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The config and the weights, by Meta's names, in their order; a tied output only once."""
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    config = getattr(model, "config", None)
    if not isinstance(config, ModelConfig):
        raise CourseError(
            f"{type(model).__name__} has no .config that is a ModelConfig, so its sizes are not "
            "known; set model.config first."
        )
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    expected = weight_shapes(config)
    if config.tie_embeddings and HEAD in tensors:
        head, embedding = tensors[HEAD], tensors.get(EMBEDDING)
        if embedding is not None and head is not embedding and not torch.equal(head, embedding):
            raise CourseError(
                "The config says tie_embeddings, and the model's output.weight differs from its "
                "embedding; set tie_embeddings=False in its config."
            )
        del tensors[HEAD]
    where = f"{type(model).__name__}, which is to be saved"
    check_tensors(expected, {name: tuple(t.shape) for name, t in tensors.items()}, where)
    tensors = {name: tensors[name] for name in expected}
    for name in expected:
        module = model.get_submodule(name.rpartition(".")[0])
        if module._buffers:  # a scale, say: the weight alone would be another model
            raise CourseError(
                f"{name} belongs to a {type(module).__name__} that keeps more than its weight "
                f"({some(module._buffers)}); bring it back to a plain weight before saving."
            )
    if any(t.is_meta for t in tensors.values()):
        raise CourseError("The model is on the device meta and has no numbers to save.")
    return config, tensors


def _expressible(
    config: ModelConfig, format: str, version: int, drop: Sequence[str]
) -> ModelConfig:
    """The config as a reader would find it; fields that differ must be in `drop`."""
    drop = (drop,) if isinstance(drop, str) else tuple(drop)
    for name in drop:
        if name not in MAY_DROP:
            raise CourseError(
                f"drop cannot name {name!r}; the fields that may be given up are "
                f"{', '.join(MAY_DROP)}."
            )
    readers = {
        "huggingface": lambda: huggingface.read_back(config),
        "meta": lambda: meta.read_back(config),
        "llama2c": lambda: llama2c.read_back(config, version),
    }
    read = readers[format]()
    lost = [
        f.name
        for f in dataclasses.fields(ModelConfig)
        if getattr(read, f.name) != getattr(config, f.name) and f.name not in drop
    ]
    if lost:
        told = ", ".join(
            f"{n}={getattr(config, n)!r} (it would be read as {getattr(read, n)!r})" for n in lost
        )
        advice = "save in another format"
        if set(lost) <= set(MAY_DROP):
            options = " ".join(f"--drop {name}" for name in lost)
            advice += f", or give it up with drop={tuple(lost)!r} (convert: {options})"
        raise CourseError(f"The format {format!r} cannot express {told}; {advice}.")
    return dataclasses.replace(config, **{name: getattr(read, name) for name in drop})


def _check_dtypes(tensors: dict[str, Tensor], format: str, dtype: torch.dtype | None) -> None:
    for name, tensor in tensors.items():
        kind = dtype or tensor.dtype
        if kind not in FLOATS or tensor.dtype not in FLOATS:
            raise CourseError(f"{name} is {tensor.dtype}, which a checkpoint cannot hold.")
        if format == "llama2c" and kind is torch.float64:
            raise CourseError(
                f"{name} is float64, and llama2.c's format holds float32; "
                "save with dtype=torch.float32."
            )


def _target(path: Path, format: str, tokenizer: Tokenizer | None) -> tuple[Path, str]:
    """The folder to write in and, for llama2.c, the file's name; refused where a thing is lost."""
    as_file = format == "llama2c" and path.suffix == ".bin" and not path.is_dir()
    folder = path.parent if as_file else path
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"{folder} is a file; a checkpoint of format {format!r} is a folder.")
    if not folder.is_dir():
        return folder, path.name if as_file else "model.bin"
    files = Files(folder)
    others = [f for f in formats_in(files) if f != format]
    if others:
        raise CourseError(
            f"{folder} holds a checkpoint of format {others[0]!r}; save one of format {format!r} "
            "to a folder of its own, or remove the other first."
        )
    _check_foreign_config(files, format)
    models = llama2c_files(files)
    if not as_file:
        if len(models) > 1:
            raise CourseError(
                f"{folder} holds {len(models)} models of llama2.c; name the file to replace."
            )
        return folder, models[0] if models else "model.bin"
    if path.name in files and path.name not in models:
        raise CourseError(f"{path} is no model of llama2.c; it is not replaced by one.")
    if tokenizer is not None and set(models) - {path.name} and "tokenizer.bin" in files:
        raise CourseError(
            f"{folder} has a tokenizer.bin that other models there use; save to a folder of its "
            "own, or leave the tokenizer out."
        )
    return folder, path.name


def _check_foreign_config(files: Files, format: str) -> None:
    """A config.json may be of something else altogether; it is not written over."""
    if format == "llama2c" or format in formats_in(files):
        return
    name = "config.json" if format == "huggingface" else "params.json"
    if name not in files:
        return
    read = ModelConfig.from_huggingface if format == "huggingface" else ModelConfig.from_meta
    try:
        read(read_json(files[name]), vocab_size=1)
    except CourseError:
        raise CourseError(
            f"{files[name]} is not the config of a LLaMA model; save to another folder, so that "
            "it is not lost."
        ) from None


def _check_old_tokenizer(folder: Path, tokenizer: Tokenizer | None, vocab_size: int) -> None:
    """A tokenizer that stays in the folder must go with the new model too."""
    if tokenizer is not None or not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return
    kept = read_tokenizer(folder)
    if kept is not None and kept.vocab_size > vocab_size:
        raise CourseError(
            f"{folder} has a tokenizer of {kept.vocab_size} ids, and the model has {vocab_size}; "
            "save with tokenizer=..., or to another folder."
        )


def _check_disk(folder: Path, nbytes: int) -> None:
    free = free_disk(folder)
    if nbytes > free:
        raise CourseError(
            f"The checkpoint needs {gigabytes(nbytes)} on the disk of {folder}, and "
            f"{gigabytes(free)} are free (the old one goes only when the new one is there)."
        )


def _replaced(files: Files, format: str, with_tokenizer: bool) -> set[str]:
    """The names in the folder that the new checkpoint takes the place of."""
    names: Iterable[str] = ()
    if format == "huggingface":
        names = huggingface.owned(files)
    elif format == "meta":
        names = meta.owned(files)
    if with_tokenizer and format != "llama2c":
        names = [*names, *(name for name in TOKENIZER_FILES if name in files)]
    return set(names)


def _move_order(name: str) -> int:
    """Weights first, what describes them next, the index last."""
    if name.endswith(".index.json"):
        return 2
    return 1 if name.endswith(".json") else 0


def _special_id(tokenizer: Tokenizer | None, name: str) -> int | None:
    value = getattr(tokenizer, f"{name}_id", None)
    return value if isinstance(value, int) and value >= 0 else None
