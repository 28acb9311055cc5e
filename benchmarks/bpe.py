"""Byte-level BPE: training, encoding, streaming; ours beside tiktoken and Hugging Face's library.

    python benchmarks/bpe.py TEXT [--gpt2 FOLDER] [--llama3 TOKENIZER_MODEL]

TEXT is a UTF-8 file of English, such as Tiny Shakespeare (1.1 MB). All encode it with the same
tokens: some trained on it, and GPT-2's and Llama 3's where their files are given. The ids are
compared first. Everything runs on one thread, and seconds are of processor time, so that other
work on the machine counts little; of several rounds, in which the libraries take turns, the best
of each is kept. Memory is the process's peak of resident memory (VmHWM of /proc/self/status) while
100 MB stream through, less what it had before, in a process of its own. Linux only.
"""

from __future__ import annotations

import os

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import record
import tiktoken
import tokenizers

from llama_course.tokenizers import BPETokenizer, TiktokenTokenizer
from llama_course.tokenizers.bpe_huggingface import tokenizer_json

ROUNDS = 7
SAMPLE = 130_000  # bytes of English to train on
STREAM = 100_000_000  # bytes to stream


def seconds(function: Callable[[], Any]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def best(functions: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """The least time of each; they take turns, so that a slow spell of the machine hits all."""
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: min(values) for name, values in times.items()}


def training(text: str) -> dict[str, Any]:
    """500 merges on 130 kB: a vocabulary of 756."""
    text = text.encode("utf-8")[:SAMPLE].decode("utf-8", "ignore")

    def theirs() -> None:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=756,
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator([text], trainer)

    times = best({"ours": lambda: BPETokenizer.train([text], 756), "tokenizers": theirs})
    return {
        "bytes": len(text.encode("utf-8")),
        "merges": 500,
        "seconds": {name: round(value, 3) for name, value in times.items()},
        "ours_over_tokenizers": round(times["ours"] / times["tokenizers"], 2),
    }


def encoding(ours: BPETokenizer, text: str) -> dict[str, Any]:
    """Megabytes a second: first with nothing remembered, then warm."""
    theirs = tiktoken.Encoding(
        "same",
        pat_str=ours.model.pattern,
        mergeable_ranks=dict(ours.model.tokens),
        special_tokens=ours.special_tokens,
    )
    content = json.dumps(tokenizer_json(ours.model))
    hugging = tokenizers.Tokenizer.from_str(content)
    ids = ours.encode(text)
    assert ids == theirs.encode_ordinary(text), "tiktoken gives other ids"
    assert ids == hugging.encode(text, add_special_tokens=False).ids, "tokenizers gives other ids"
    fresh = [BPETokenizer(ours.model) for _ in range(3)]
    cold = min(seconds(lambda one=one: one.encode(text)) for one in fresh)
    times = best(
        {
            "ours": lambda: ours.encode(text),
            "tiktoken": lambda: theirs.encode_ordinary(text),
            "tokenizers": lambda: hugging.encode(text, add_special_tokens=False),
        }
    )
    size = len(text.encode("utf-8"))
    speed = {name: size / 1e6 / value for name, value in times.items()}
    return {
        "vocab_size": ours.vocab_size,
        "bytes": size,
        "tokens": len(ids),
        "mb_per_second": {name: round(value, 2) for name, value in speed.items()},
        "ours_cold_mb_per_second": round(size / 1e6 / cold, 2),
        "speed_over_tiktoken": round(speed["ours"] / speed["tiktoken"], 2),
        "speed_over_tokenizers": round(speed["ours"] / speed["tokenizers"], 2),
    }


def chunks(text: str) -> Iterator[str]:
    """100 MB: the text over and over, cut anywhere, with 1,000 new words after each time, so that
    what is remembered must make room again and again."""
    rng = random.Random(0)
    sent = 0
    while sent < STREAM:
        new = (" ".join("".join(rng.choices("etaoinshrdlu", k=9)) for _ in range(1000))) + "\n"
        page, at = text + new, 0
        while at < len(page) and sent < STREAM:
            end = at + rng.randrange(1, 20_000)
            sent += len(page[at:end].encode("utf-8"))
            yield page[at:end]
            at = end


def memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def streaming(file: Path, text: str) -> dict[str, Any]:
    """In a process that did nothing else, so that no memory lies ready from before."""
    ours = BPETokenizer.load(file)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    before = memory("VmRSS")
    start = time.process_time()
    count = sum(1 for _ in ours.encode_iterable(chunks(text)))
    taken = time.process_time() - start
    return {
        "bytes": STREAM,
        "tokens": count,
        "extra_memory_mb": round((memory("VmHWM") - before) / 1e6, 1),
        "seconds": round(taken, 1),
        "mb_per_second": round(STREAM / 1e6 / taken, 2),
    }


def in_another_process(tokenizer: BPETokenizer, text: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bpe.json"
        tokenizer.save(file)
        command = [sys.executable, __file__, str(text), "--stream", str(file)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--gpt2", type=Path, help="a folder with encoder.json and vocab.bpe")
    parser.add_argument("--llama3", type=Path, help="Llama 3's tokenizer.model")
    parser.add_argument("--stream", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    text = arguments.text.read_text(encoding="utf-8")
    if arguments.stream:
        print(json.dumps(streaming(arguments.stream, text)))
        return
    results: dict[str, Any] = {"text": arguments.text.name, "threads": 1}
    trained = BPETokenizer.train([text], 4096)
    results["training"] = training(text)
    results["streaming"] = in_another_process(trained, arguments.text)
    results["encoding_trained_here"] = encoding(trained, text)
    if arguments.gpt2:
        files = (arguments.gpt2 / "encoder.json", arguments.gpt2 / "vocab.bpe")
        results["encoding_gpt2"] = encoding(BPETokenizer.from_gpt2(*files), text)
    if arguments.llama3:
        results["encoding_llama3"] = encoding(TiktokenTokenizer(arguments.llama3), text)
    print(json.dumps(results, indent=2))
    print("Wrote", record.write("bpe", results, ("tiktoken", "tokenizers", "regex")))


if __name__ == "__main__":
    main()
