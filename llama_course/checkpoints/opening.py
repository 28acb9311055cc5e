"""Which format is it? By the content of a folder or of a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_course.checkpoints import huggingface, llama2c, meta
from llama_course.checkpoints.journal import Files
from llama_course.checkpoints.names import some
from llama_course.checkpoints.reading import Checkpoint
from llama_course.errors import CourseError

FORMATS = ("huggingface", "meta", "llama2c")
_HELP = (
    "a checkpoint is a folder with config.json and model.safetensors (Hugging Face), a folder with "
    "params.json and consolidated.00.pth (Meta), or a .bin file of llama2.c"
)


def formats_in(files: Mapping[str, Path]) -> list[str]:
    """The formats that a folder's files belong to; usually one."""
    found = []
    if huggingface.recognises(files):
        found.append("huggingface")
    if meta.recognises(files):
        found.append("meta")
    if llama2c_files(files):
        found.append("llama2c")
    return found


def llama2c_files(files: Mapping[str, Path]) -> list[str]:
    """The names of llama2.c's models among a folder's files."""
    others = huggingface.owned(files) if huggingface.recognises(files) else []
    return [name for name, path in files.items() if name not in others and llama2c.recognises(path)]


def open_checkpoint(
    path: str | Path, given: Mapping[str, Any] | None = None
) -> tuple[Checkpoint, Files]:
    """The checkpoint at `path`, its headers read, and the files of its folder.

    `path` is a folder, a llama2.c file, or one file of a folder. Raises `CourseError` where there
    is none, where it is damaged, or where it does not fit together.
    """
    path = Path(path)
    given = {name: value for name, value in (given or {}).items() if value is not None}
    try:
        if path.is_dir():
            return _open_folder(path, given)
        if path.is_file():
            return _open_file(path, given)
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror or error}.") from None
    raise CourseError(f"There is nothing at {path}; {_HELP}.")


def _open_folder(folder: Path, given: Mapping[str, Any]) -> tuple[Checkpoint, Files]:
    files = Files(folder)
    found = formats_in(files)
    if len(found) > 1:
        raise CourseError(
            f"{folder} holds checkpoints of {len(found)} formats ({', '.join(found)}); name a file "
            "of the one you mean, such as its config.json, params.json or .bin file."
        )
    if found:
        return _open_format(found[0], files, given), files
    names = [name for name in files if not name.startswith(".")]
    if not names:
        raise CourseError(f"The folder {folder} is empty; {_HELP}.")
    if "config.json" in names or "params.json" in names:
        which = "config.json" if "config.json" in names else "params.json"
        weights = "model.safetensors" if which == "config.json" else "consolidated.00.pth"
        raise CourseError(
            f"The folder {folder} has {which} and no weights; fetch {weights} (or its parts) too."
        )
    models = [name for name in names if _is_model_bin(files[name])]
    if len(models) == 1:  # damaged; opening it says how
        return llama2c.Llama2cCheckpoint(files[models[0]], given), files
    raise CourseError(
        f"The folder {folder} holds no checkpoint that is known (there is {some(names)}); {_HELP}."
    )


def _open_file(path: Path, given: Mapping[str, Any]) -> tuple[Checkpoint, Files]:
    files = Files(path.parent)
    path = files.get(path.name, path)
    if path.suffix == ".pth" or path.name == "params.json":
        return _open_format("meta", files, given), files
    if path.suffix == ".safetensors" or path.name in huggingface.owned(files):
        return _open_format("huggingface", files, given), files
    if _is_model_bin(path):
        return llama2c.Llama2cCheckpoint(path, given), files
    raise CourseError(f"{path} is no checkpoint that is known; {_HELP}.")


def _open_format(name: str, files: Files, given: Mapping[str, Any]) -> Checkpoint:
    if name == "huggingface":
        if not huggingface.recognises(files):
            raise CourseError(
                f"{files.folder} has no {huggingface.SINGLE}, nor the index of one in parts; "
                "fetch the weights too, or give them the name they came with."
            )
        return huggingface.HuggingFaceCheckpoint(files, given)
    if name == "meta":
        if not meta.recognises(files):
            raise CourseError(
                f"{files.folder} has no consolidated.00.pth, as Meta's weights are named; "
                "fetch them too, or give them the name they came with."
            )
        return meta.MetaCheckpoint(files, given)
    models = llama2c_files(files)
    if len(models) > 1:
        raise CourseError(
            f"The folder {files.folder} holds {len(models)} models of llama2.c ({some(models)}); "
            "name the file that you mean."
        )
    return llama2c.Llama2cCheckpoint(files[models[0]], given)


def _is_model_bin(path: Path) -> bool:
    return path.suffix == ".bin" and path.name != "tokenizer.bin"
