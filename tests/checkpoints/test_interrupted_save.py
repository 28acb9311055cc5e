"""A save that is stopped anywhere leaves the old checkpoint or the new one, whole."""

from __future__ import annotations

import io
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import SHARDABLE, contents, fresh_copy, quiet_load, random_model, same

from llama_course.checkpoints import journal, save, store
from llama_course.errors import CourseError
from llama_course.tokenizers import train_sentencepiece

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the process is killed in a fork")

OLD = SHARDABLE | {"n_layers": 1}
NEW = SHARDABLE | {"n_layers": 1, "dim": 64, "rope_theta": 5e4}  # the config changes too
SHARDED = {"max_shard_bytes": 250_000}
# (format, options of the old save, options of the new one)
CHANGES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "one file": ("huggingface", {}, {}),
    "to parts": ("huggingface", {}, SHARDED),
    "parts to other parts": ("huggingface", SHARDED, SHARDED),
    "parts to one": ("huggingface", SHARDED, {}),
    "fewer shards": ("meta", {"shards": 4}, {"shards": 2}),
    "more shards": ("meta", {"shards": 1}, {"shards": 2}),
    "version 0 to 1": ("llama2c", {}, {"version": 1, "drop": ("rope_theta",)}),
}

# Every call that changes the disk, in the module where it is looked up.
STEPS = [(os, n) for n in ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync")]


class Countdown:
    """Calls `stop` at the k-th change of the disk, before or after it is made."""

    def __init__(self, monkeypatch: Any, k: int, stop: Callable[[], None], after: bool) -> None:
        self.left, self.stop, self.after = k, stop, after
        for module, name in STEPS:
            monkeypatch.setattr(module, name, self.counted(getattr(module, name)))
        plain_open = io.open

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if "w" not in mode:
                return plain_open(file, mode, *args, **kwargs)
            return self.counted(plain_open)(file, mode, *args, **kwargs)

        monkeypatch.setattr(io, "open", opened)

    def counted(self, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            now = self.left == 0
            if now and not self.after:
                self.stop()
            result = function(*args, **kwargs)
            if now and self.after:
                self.stop()
            return result

        return call


def in_child(work: Callable[[], None]) -> int:
    """The exit code of `work` in a fork of this process; negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            torch.set_num_threads(1)  # a fork has none of torch's other threads
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def old_or_new(folder: Path, old: Any, new: Any) -> str:
    loaded, _ = quiet_load(folder)
    return "old" if same(loaded, old) else "new" if same(loaded, new) else "neither"


def new_model(change: str) -> Any:
    """For llama2.c's format, which has no field for it, with the common rope_theta."""
    fields = NEW | {"rope_theta": 1e4} if CHANGES[change][0] == "llama2c" else NEW
    return random_model(seed=2, **fields)


QUICK = ("parts to other parts", "fewer shards", "version 0 to 1")  # one of each format


@forks
@pytest.mark.parametrize(
    "change", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CHANGES]
)
def test_killed_at_every_step(tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    format, old_options, new_options = CHANGES[change]
    old, new = random_model(seed=1, **OLD), new_model(change)
    save(old, tmp_path / "old", format, **old_options)
    folder = tmp_path / "folder"
    seen, k, code = [], 0, 7
    while code == 7:
        k += 1
        fresh_copy(tmp_path / "old", folder)

        def killed(k: int = k) -> None:
            with pytest.MonkeyPatch.context() as patch:
                Countdown(patch, k, lambda: os._exit(7), after=k % 2 == 0)
                save(new, folder, format, **new_options)

        code = in_child(killed)
        # First as someone who may not write there, then as someone who may.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", _denied)
            before = contents(folder)
            reading = old_or_new(folder, old, new)
            assert {n for n in contents(folder) if "/" not in n} <= set(before)
        assert old_or_new(folder, old, new) == reading
        seen.append(reading)
        assert not list(folder.glob(".saved-*"))
    assert code == 0
    assert "neither" not in seen
    assert seen == sorted(seen, reverse=True), "once new, always new"
    assert {"old", "new"} <= set(seen)
    assert k > 10
    save(new, folder, format, **new_options)
    clean = tmp_path / "clean"
    save(new, clean, format, **new_options)
    assert len(contents(folder)) == len(contents(clean)), "a killed save left something behind"


def _denied(*args: Any, **kwargs: Any) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("change", QUICK)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_stopped_at_every_step(tmp_path: Path, change: str, error: Any) -> None:
    """By an exception: Ctrl-C, a full disk. What was begun is cleared away at once."""
    format, old_options, new_options = CHANGES[change]
    old, new = random_model(seed=1, **OLD), new_model(change)
    save(old, tmp_path / "old", format, **old_options)
    before = contents(tmp_path / "old")
    seen, k, stopped = [], 0, True
    while stopped and k < 300:
        k += 1
        folder = fresh_copy(tmp_path / "old", tmp_path / "folder")

        def stop() -> None:
            raise error

        with pytest.MonkeyPatch.context() as patch:
            count = Countdown(patch, k, stop, after=False)
            try:
                save(new, folder, format, **new_options)
            except (KeyboardInterrupt, CourseError) as told:
                if isinstance(told, CourseError):
                    assert "No space left" in str(told)
                if not list(folder.glob(".saved-*")):
                    assert contents(folder) == before
            stopped = count.left <= 0
        seen.append(old_or_new(folder, old, new))
        assert not list(folder.glob(".saved-*")) and not list(folder.glob(".saving-*"))
    # (An error that the system gives while the files are moved is not the end: they wait.)
    assert "neither" not in seen
    assert {"old", "new"} <= set(seen)


@forks
@pytest.mark.parametrize("format", ["huggingface", "meta", "llama2c"])
def test_killed_at_any_time(tmp_path: Path, format: str) -> None:
    """A real SIGKILL, while a process saves one model and the other in turn."""
    options: dict[str, Any] = {"max_shard_bytes": 400_000} if format == "huggingface" else {}
    fields = {"vocab_size": 4000, "n_layers": 1}
    models = [random_model(seed=i, **fields) for i in (1, 2)]
    folder = tmp_path / "folder"
    save(models[0], folder, format, **options)
    chance = random.Random(0)
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            torch.set_num_threads(1)
            while True:
                for model in models:
                    save(model, folder, format, **options)
        time.sleep(chance.uniform(0.005, 0.1))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert old_or_new(folder, *models) != "neither"


@forks
@pytest.mark.parametrize("format", ["huggingface", "meta", "llama2c"])
def test_a_disk_that_fills_up(tmp_path: Path, format: str) -> None:
    """The system refuses to write beyond a size in the middle of a file."""
    resource = pytest.importorskip("resource")
    old, new = random_model(seed=1, **OLD), random_model(seed=2, **OLD)
    save(old, tmp_path / "folder", format)
    before = contents(tmp_path / "folder")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            save(new, tmp_path / "folder", format)
        except CourseError as error:
            os._exit(3 if "untouched" in str(error) else 4)

    assert in_child(limited) == 3
    assert contents(tmp_path / "folder") == before


@pytest.mark.parametrize("format", ["huggingface", "meta", "llama2c"])
def test_a_model_can_be_saved_over_the_files_it_is_mapped_from(tmp_path: Path, format: str) -> None:
    model = random_model(seed=1)
    save(model, tmp_path, format)
    mapped, _ = quiet_load(tmp_path)
    with torch.no_grad():
        mapped.layers[0].attention.wv.weight.add_(1.0)
        model.layers[0].attention.wv.weight.add_(1.0)
    assert not same(model, quiet_load(tmp_path)[0]), "training must not reach the file"
    save(mapped, tmp_path, format)
    assert same(model, mapped), "the model in memory keeps its numbers"
    assert same(model, quiet_load(tmp_path)[0])


def test_a_save_that_cannot_be_moved_waits_and_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a mapped file cannot be replaced (Windows); the tokenizer comes along."""
    tokenizers = [train_sentencepiece([f"{w} and more words. " * 40], 285) for w in ("one", "two")]
    old, new = random_model(seed=1, vocab_size=285), random_model(seed=2, vocab_size=285)
    save(old, tmp_path, tokenizer=tokenizers[0])
    with monkeypatch.context() as patch:
        replace = os.replace

        def inside_only(a: Any, b: Any) -> None:
            if Path(b).parent == tmp_path and ".saved-" in str(a):
                _denied()
            replace(a, b)

        patch.setattr(os, "replace", inside_only)
        save(new, tmp_path, tokenizer=tokenizers[1])
        assert list(tmp_path.glob(".saved-*"))
        loaded, tokenizer = quiet_load(tmp_path)
        assert same(loaded, new)
        assert tokenizer.model_proto == tokenizers[1].model_proto
        save(old, tmp_path, tokenizer=tokenizers[0])  # a second one that has to wait
        assert same(quiet_load(tmp_path)[0], old)
    assert same(quiet_load(tmp_path)[0], old)
    assert not list(tmp_path.glob(".sav*"))


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "free_disk", lambda path: 1000)
    with pytest.raises(CourseError, match=r"(?s)needs 719\.2 kB .* 1\.0 kB are free"):
        save(random_model(), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_folder_of_another_format_is_left_alone(tmp_path: Path) -> None:
    model = random_model()
    for there in ("huggingface", "meta", "llama2c"):
        save(model, tmp_path / there, there)
        (tmp_path / there / "notes.txt").write_text("mine")
        before = contents(tmp_path / there)
        for other in {"huggingface", "meta", "llama2c"} - {there}:
            with pytest.raises(CourseError, match=f"holds a checkpoint of format '{there}'"):
                save(model, tmp_path / there, other)
        assert contents(tmp_path / there) == before
        save(model, tmp_path / there, there)
        assert (tmp_path / there / "notes.txt").read_text() == "mine"


def test_other_peoples_files_are_not_written_over(tmp_path: Path) -> None:
    model = random_model()
    (tmp_path / "config.json").write_text('{"my": "settings"}')
    with pytest.raises(CourseError, match="not the config of a LLaMA"):
        save(model, tmp_path)
    assert (tmp_path / "config.json").read_text() == '{"my": "settings"}'
    (tmp_path / "data.bin").write_bytes(b"\x01\x00" * 500)
    with pytest.raises(CourseError, match=r"data.bin is no model of llama2.c"):
        save(model, tmp_path / "data.bin", "llama2c")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CourseError, match="is a file"):
        save(model, tmp_path / "file")
    tokenizer = train_sentencepiece(["some words. " * 40], 270)
    small = random_model(vocab_size=270)
    save(small, tmp_path / "c" / "a.bin", "llama2c", tokenizer=tokenizer)
    with pytest.raises(CourseError, match="other models there use"):
        save(small, tmp_path / "c" / "b.bin", "llama2c", tokenizer=tokenizer)
    save(small, tmp_path / "c" / "b.bin", "llama2c")
    with pytest.raises(CourseError, match="name the file"):
        quiet_load(tmp_path / "c")
    assert same(quiet_load(tmp_path / "c" / "b.bin")[0], small)


@forks
def test_only_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    save(random_model(), tmp_path)
    alive, dead = tmp_path / f".saving-{os.getppid()}-a", tmp_path / ".saving-999999999-b"
    for folder in (alive, dead):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    save(random_model(), tmp_path)
    assert alive.exists()
    assert not dead.exists()
    assert set(journal.Files(tmp_path)) == {"config.json", "model.safetensors"}
