"""Load a checkpoint of 7B shape in bfloat16: seconds and memory, ours beside transformers'.

    python benchmarks/load_7b.py FOLDER [--keep]

Writes a random checkpoint (13.5 GB, Hugging Face layout) into FOLDER once, makes Meta's layout of
it with `save`, and loads each in a process of its own, after pushing the files out of the page
cache. Memory is the process's *anonymous* resident memory (RssAnon of /proc/self/status): what is
mapped from a file does not count, since the system can drop it at will. "touched" is after one
forward over eight tokens, which reads every weight. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import record
import torch
from safetensors.torch import save_file

from llama_course.config import ModelConfig
from llama_course.hardware import GIB

SIZE = "7B"


def rss() -> dict[str, int]:
    """This process's resident bytes by kind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":") for line in lines if line.startswith("Rss"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


class Peak(threading.Thread):
    """Samples RssAnon every 20 ms and keeps the largest."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.anonymous = max(self.anonymous, rss()["RssAnon"])

    def stop(self) -> int:
        self._over.set()
        return max(self.anonymous, rss()["RssAnon"])


def write_checkpoint(folder: Path, config: ModelConfig) -> None:
    """A random Hugging Face checkpoint, written shard by shard so that little memory is needed."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    dim, hidden, kv = config.dim, config.hidden_dim, config.n_kv_heads * config.head_dim

    def draw(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.bfloat16).normal_(std=0.02, generator=generator)

    groups: list[dict[str, tuple[int, ...]]] = [
        {
            "model.embed_tokens.weight": (config.vocab_size, dim),
            "lm_head.weight": (config.vocab_size, dim),
            "model.norm.weight": (dim,),
        }
    ]
    for i in range(config.n_layers):
        layer = f"model.layers.{i}."
        groups.append(
            {
                f"{layer}self_attn.q_proj.weight": (dim, dim),
                f"{layer}self_attn.k_proj.weight": (kv, dim),
                f"{layer}self_attn.v_proj.weight": (kv, dim),
                f"{layer}self_attn.o_proj.weight": (dim, dim),
                f"{layer}mlp.gate_proj.weight": (hidden, dim),
                f"{layer}mlp.up_proj.weight": (hidden, dim),
                f"{layer}mlp.down_proj.weight": (dim, hidden),
                f"{layer}input_layernorm.weight": (dim,),
                f"{layer}post_attention_layernorm.weight": (dim,),
            }
        )
    chunks = [groups[i : i + 8] for i in range(0, len(groups), 8)]
    where: dict[str, str] = {}
    for number, chunk in enumerate(chunks, 1):
        name = f"model-{number:05d}-of-{len(chunks):05d}.safetensors"
        shapes = {k: v for group in chunk for k, v in group.items()}
        tensors = {
            k: torch.ones(v, dtype=torch.bfloat16) if len(v) == 1 else draw(*v)
            for k, v in shapes.items()
        }
        save_file(tensors, folder / name, metadata={"format": "pt"})
        where |= dict.fromkeys(shapes, name)
        print(f"wrote {name}", flush=True)
    config_json = {**config.to_huggingface(), "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config_json), encoding="utf-8")
    index = {"metadata": {"total_size": 2 * 6_738_415_616}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def measure(loader: str, folder: Path) -> dict[str, Any]:
    """Load in this process; the caller starts one process for each loader."""
    if loader == "transformers":
        from transformers import LlamaForCausalLM
    else:
        from llama_course.checkpoints import load
    before = rss()["RssAnon"]
    peak = Peak()
    peak.start()
    start = time.perf_counter()
    if loader == "transformers":
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    else:
        model, _ = load(folder, dtype=torch.bfloat16)
    seconds = time.perf_counter() - start
    loaded, most = rss()["RssAnon"], peak.stop()
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    start = time.perf_counter()
    with torch.no_grad():
        out = model(torch.arange(8)[None])
    forward = time.perf_counter() - start
    checksum = float((out if loader != "transformers" else out.logits).float().abs().mean())
    return {
        "seconds_to_load": round(seconds, 2),
        "seconds_of_first_forward": round(forward, 2),
        "weights_gib": round(weights / GIB, 3),
        "anonymous_loaded_gib": round((loaded - before) / GIB, 3),
        "anonymous_peak_gib": round((most - before) / GIB, 3),
        "anonymous_touched_gib": round((rss()["RssAnon"] - before) / GIB, 3),
        "anonymous_peak_over_weights": round((most - before) / weights, 3),
        "mean_abs_logit": checksum,
    }


def forget(folder: Path) -> None:
    """Ask the system to drop the folder's files from the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the 27 GB of files")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.folder)))
        return
    config = ModelConfig.preset(SIZE)
    hugging, meta = arguments.folder / "huggingface", arguments.folder / "meta"
    if not (hugging / "model.safetensors.index.json").exists():
        write_checkpoint(hugging, config)
    if not (meta / "params.json").exists():
        from llama_course.checkpoints import load, save

        save(load(hugging)[0], meta, format="meta")
    results: dict[str, Any] = {"size": SIZE, "dtype": "bfloat16"}
    for loader, folder in (("ours", hugging), ("transformers", hugging), ("ours", meta)):
        forget(folder)
        command = [sys.executable, __file__, str(folder), "--measure", loader]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        name = f"{loader}_{folder.name}"
        results[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, json.dumps(results[name], indent=2), flush=True)
    print("Wrote", record.write("load_7b", results, ("transformers", "safetensors")))
    if not arguments.keep:
        for folder in (hugging, meta):
            for path in folder.iterdir():
                path.unlink()


if __name__ == "__main__":
    main()
