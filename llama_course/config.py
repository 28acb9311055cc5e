"""The sizes of a model: everything that fixes its shapes and its arithmetic, and nothing else.

One `ModelConfig` describes the toy of the first lesson and the 65B model alike. The names are
Meta's (`params.json`); the published sizes are in `PRESETS`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any

from llama_course.errors import CourseError, nearest

ROPE_SCALINGS = ("linear", "dynamic", "yarn", "llama3")


@dataclass(frozen=True)
class RopeScaling:
    """How the rotary angles are stretched for contexts beyond the trained length.

    `type` is one of `ROPE_SCALINGS`; a model without scaling has `rope_scaling=None`.
    `original_max_seq_len` is the length that the model was trained on, in tokens. The other
    fields belong to one type each: `low_freq_factor` and `high_freq_factor` to `llama3` (Llama
    3.1), `beta_fast`, `beta_slow`, `truncate`, `attention_factor`, `mscale` and `mscale_all_dim`
    to `yarn` (arXiv 2309.00071, section 3).
    """

    type: str
    factor: float | int
    original_max_seq_len: int
    low_freq_factor: float | int = 1.0
    high_freq_factor: float | int = 4.0
    beta_fast: float | int = 32.0
    beta_slow: float | int = 1.0
    truncate: bool = True
    attention_factor: float | int | None = None
    mscale: float | int | None = None
    mscale_all_dim: float | int | None = None

    def __post_init__(self) -> None:
        if self.type not in ROPE_SCALINGS:
            raise CourseError(
                f"The RoPE scaling type {self.type!r} is not known; "
                f"{nearest(self.type, ROPE_SCALINGS)}"
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("type", "truncate", "original_max_seq_len") or value is None:
                continue
            if not _is_number(value):
                raise CourseError(f"rope_scaling.{field.name} must be a number, found {value!r}.")
        if not self.factor >= 1.0:
            raise CourseError(f"rope_scaling.factor must be at least 1, found {self.factor}.")
        length = self.original_max_seq_len
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise CourseError(
                f"rope_scaling.original_max_seq_len must be a positive integer, found {length!r}."
            )


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a LLaMA model.

    Fields left out follow the paper: as many key/value heads as heads, heads of `dim / n_heads`,
    and a feed-forward width of two thirds of `4 * dim`, rounded up to `multiple_of`
    (arXiv 2302.13971, section 2.2, and Meta's `params.json`). `multiple_of` and
    `ffn_dim_multiplier` only serve to compute `hidden_dim`, which is what is kept.

    Raises `CourseError` where the sizes do not fit together.
    """

    dim: int
    n_layers: int
    n_heads: int
    vocab_size: int
    n_kv_heads: int = 0
    head_dim: int = 0
    hidden_dim: int = 0
    norm_eps: float | int = 1e-5
    rope_theta: float | int = 10_000.0
    rope_scaling: RopeScaling | None = None
    max_seq_len: int = 2048
    tie_embeddings: bool = False
    multiple_of: InitVar[int | None] = None
    ffn_dim_multiplier: InitVar[float | int | None] = None

    def __post_init__(
        self, multiple_of: int | None, ffn_dim_multiplier: float | int | None
    ) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 - frozen
        for field in dataclasses.fields(self):
            put(field.name, _checked(field.name, getattr(self, field.name)))
        if not self.n_kv_heads:
            put("n_kv_heads", self.n_heads)
        if not self.head_dim:
            if self.dim % self.n_heads:
                raise CourseError(
                    f"The config's heads do not divide its width: dim is {self.dim} and n_heads is "
                    f"{self.n_heads}; choose n_heads so that dim / n_heads is whole."
                )
            put("head_dim", self.dim // self.n_heads)
        if not self.hidden_dim:
            width = hidden_dim(
                self.dim, 256 if multiple_of is None else multiple_of, ffn_dim_multiplier
            )
            put("hidden_dim", width)
        if self.n_heads % self.n_kv_heads:
            raise CourseError(
                f"The config's key/value heads do not divide its heads: n_heads is {self.n_heads} "
                f"and n_kv_heads is {self.n_kv_heads}; each key head must serve equally many heads."
            )
        if self.head_dim % 2:
            raise CourseError(
                f"The config's head_dim is {self.head_dim}, but RoPE turns pairs of numbers, "
                "so it must be even."
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> ModelConfig:
        """A published size by its name, such as `"7B"`; `changes` replace single fields.

        Raises `CourseError` with the nearest names for one that is not in `PRESETS`.
        """
        name = ALIASES.get(name, name)
        if name not in PRESETS:
            known = [*PRESETS, *ALIASES]
            raise CourseError(f"There is no model size named {name!r}; {nearest(name, known)}")
        return dataclasses.replace(PRESETS[name], **changes) if changes else PRESETS[name]

    @property
    def n_rep(self) -> int:
        """How many heads share one key/value head (grouped-query attention)."""
        return self.n_heads // self.n_kv_heads

    # ---- Meta's params.json -------------------------------------------------------------------

    def to_meta(self) -> dict[str, Any]:
        """The keys of Meta's `params.json`, as far as that format can say them.

        It cannot say `head_dim`, `max_seq_len`, `tie_embeddings`, nor a RoPE scaling other than
        Llama 3.1's: `checkpoints.save` compares what it would read back, and refuses.
        """
        params: dict[str, Any] = {
            "dim": self.dim,
            "n_layers": self.n_layers,
            "n_heads": self.n_heads,
            "n_kv_heads": self.n_kv_heads,
            "vocab_size": self.vocab_size,
            "norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
        }
        params["multiple_of"], multiplier = _hidden_dim_rule(self.dim, self.hidden_dim)
        if multiplier is not None:
            params["ffn_dim_multiplier"] = multiplier
        if self.rope_scaling is not None and self.rope_scaling.type == "llama3":
            params["use_scaled_rope"] = True
        return params

    @classmethod
    def from_meta(
        cls, params: Mapping[str, Any], **given: Any
    ) -> tuple[ModelConfig, dict[str, Any]]:
        """A config from Meta's `params.json`, and the fields that had to be assumed.

        `given` fields (such as `max_seq_len=4096`) come first. `vocab_size` is -1 in Meta's own
        files: pass the tokenizer's size, or the rows of the embedding.
        """
        inner = params.get("model")
        params = inner if isinstance(inner, Mapping) else params  # some files nest them
        assumed: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        for name in ("dim", "n_layers", "n_heads"):
            if name not in params and name not in given:
                raise CourseError(f"Meta's params.json has no {name!r}; the file is not complete.")
            fields[name] = params.get(name)
        fields["n_kv_heads"] = params.get("n_kv_heads") or params.get("n_heads")
        fields["multiple_of"] = params.get("multiple_of", 256)
        fields["ffn_dim_multiplier"] = params.get("ffn_dim_multiplier")
        fields["vocab_size"] = params.get("vocab_size", -1)
        theta = params.get("rope_theta")
        fields["rope_theta"] = 10_000.0 if theta is None else theta
        if params.get("norm_eps") is not None:
            fields["norm_eps"] = params["norm_eps"]
        elif "norm_eps" not in given:
            fields["norm_eps"] = assumed["norm_eps"] = 1e-5
        if params.get("use_scaled_rope"):
            fields["rope_scaling"] = LLAMA_3_1_SCALING
            if "rope_scaling" not in given:
                assumed["rope_scaling"] = LLAMA_3_1_SCALING
        if "max_seq_len" not in given:
            # Not in the file. Llama 3 is told by its base, Llama 3.1 by its scaling.
            scaled = bool(params.get("use_scaled_rope"))
            length = 131_072 if scaled else 8192 if fields["rope_theta"] == 500_000.0 else 2048
            fields["max_seq_len"] = assumed["max_seq_len"] = length
        return cls(**merged_fields(fields, given)), assumed

    # ---- Hugging Face's config.json -----------------------------------------------------------

    def to_huggingface(self) -> dict[str, Any]:
        """The keys of a Hugging Face `config.json` for `LlamaForCausalLM`.

        The older names (`rope_theta`, `rope_scaling`) are written: every release reads them.
        """
        config: dict[str, Any] = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "use_cache": True,
            "hidden_size": self.dim,
            "intermediate_size": self.hidden_dim,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": _scaling_to_huggingface(self.rope_scaling),
            "max_position_embeddings": self.max_seq_len,
            "vocab_size": self.vocab_size,
            "tie_word_embeddings": self.tie_embeddings,
        }
        return config

    @classmethod
    def from_huggingface(
        cls, config: Mapping[str, Any], **given: Any
    ) -> tuple[ModelConfig, dict[str, Any]]:
        """A config from a Hugging Face `config.json`, old or new names, and what was assumed."""
        kind = config.get("model_type", "llama")
        if kind != "llama":
            raise CourseError(
                f"config.json says model_type {kind!r}; only 'llama' can be read, "
                "whose formulas are the ones this library computes."
            )
        for name in ("attention_bias", "mlp_bias"):
            if config.get(name):
                raise CourseError(
                    f"config.json asks for {name}, which LLaMA does not have; "
                    "choose a checkpoint without biases."
                )
        if config.get("quantization_config"):
            raise CourseError(
                "config.json has a quantization_config: its weights are packed integers, which "
                "cannot be read here; choose the checkpoint that they were made from."
            )
        act = config.get("hidden_act", "silu")
        if act not in ("silu", "swish"):
            raise CourseError(f"config.json says hidden_act {act!r}; LLaMA's is 'silu'.")
        names = {
            "dim": "hidden_size",
            "n_layers": "num_hidden_layers",
            "n_heads": "num_attention_heads",
            "hidden_dim": "intermediate_size",
            "vocab_size": "vocab_size",
        }
        fields: dict[str, Any] = {}
        for ours, theirs in names.items():
            if theirs not in config and ours not in given:
                raise CourseError(f"config.json has no {theirs!r}; the file is not complete.")
            fields[ours] = config.get(theirs)
        fields["n_kv_heads"] = config.get("num_key_value_heads") or fields["n_heads"]
        fields["head_dim"] = config.get("head_dim") or 0
        fields["tie_embeddings"] = bool(config.get("tie_word_embeddings", False))
        assumed: dict[str, Any] = {}
        # The defaults are those of the class LlamaConfig, which drops what equals them.
        for ours, theirs, default in (
            ("norm_eps", "rms_norm_eps", 1e-6),
            ("max_seq_len", "max_position_embeddings", 2048),
        ):
            fields[ours] = config.get(theirs)
            if fields[ours] is None and ours not in given:
                fields[ours] = assumed[ours] = default
        rope: dict[str, Any] = {}
        for key in ("rope_scaling", "rope_parameters"):  # transformers 4, transformers 5
            found = config.get(key) or {}
            if not isinstance(found, Mapping):
                raise CourseError(f"config.json's {key} should be an object, found {found!r}.")
            rope.update(found)
        for turned in (rope.get("partial_rotary_factor"), config.get("partial_rotary_factor")):
            if turned not in (None, 1, 1.0):
                raise CourseError(
                    f"config.json's partial_rotary_factor is {turned!r}; LLaMA turns whole heads."
                )
        thetas = (rope.get("rope_theta"), config.get("rope_theta"), 10_000.0)
        fields["rope_theta"] = next(theta for theta in thetas if theta is not None)
        fields["rope_scaling"] = _scaling_from_huggingface(rope, config, fields["max_seq_len"])
        return cls(**merged_fields(fields, given)), assumed


def hidden_dim(dim: int, multiple_of: int = 256, multiplier: float | int | None = None) -> int:
    """The width of the feed-forward layer: two thirds of `4 * dim`, rounded up to `multiple_of`.

    `multiplier` (Meta's `ffn_dim_multiplier`) widens it before the rounding. LLaMA's section 2.2
    gives the two thirds, Meta's code the rounding: `hidden_dim(4096) == 11008`.
    """
    if isinstance(multiple_of, bool) or not isinstance(multiple_of, int) or multiple_of < 1:
        raise CourseError(f"multiple_of must be a positive integer, found {multiple_of!r}.")
    width = 2 * (4 * dim) // 3
    if multiplier is not None:
        if not _is_number(multiplier) or not multiplier > 0:
            raise CourseError(f"ffn_dim_multiplier must be a number above 0, found {multiplier!r}.")
        width = int(multiplier * width)
    return multiple_of * ((width + multiple_of - 1) // multiple_of)


def _hidden_dim_rule(dim: int, width: int) -> tuple[int, float | None]:
    """A `multiple_of` and `ffn_dim_multiplier` for which `hidden_dim` gives exactly `width`."""
    for multiple in (256, 128, 64, 32, 16, 8, 4, 2, 1, 512, 1024, 2048, 4096):
        if hidden_dim(dim, multiple) == width:
            return multiple, None
    base = 2 * (4 * dim) // 3
    # The half keeps `int()` clear of the rounding of the product; multiple 1 changes nothing.
    return 1, (width + 0.5) / base


def _is_number(value: Any) -> bool:
    """Whether `value` is a finite number; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _checked(name: str, value: Any) -> Any:
    """One field of a config, if it is of the right kind; what a file says may be anything."""
    if name == "tie_embeddings":
        if not isinstance(value, bool):
            raise CourseError(f"The config's {name} must be True or False, found {value!r}.")
        return value
    if name == "rope_scaling":
        if not isinstance(value, RopeScaling | None):
            raise CourseError(f"The config's {name} must be a RopeScaling, found {value!r}.")
        return value
    if name in ("multiple_of", "ffn_dim_multiplier") and value is None:
        return None
    if name in ("norm_eps", "rope_theta", "ffn_dim_multiplier"):
        if not _is_number(value):
            raise CourseError(f"The config's {name} must be a number, found {value!r}.")
        if not value > 0:
            raise CourseError(f"The config's {name} must be above 0, found {value!r}.")
        return float(value)
    least = 0 if name in ("n_kv_heads", "head_dim", "hidden_dim") else 1  # 0: by the paper's rule
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise CourseError(f"The config's {name} must be a positive integer, found {value!r}.")
    return value


def merged_fields(fields: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config: what a file says, with what the caller gave in its place."""
    known = {f.name for f in dataclasses.fields(ModelConfig)}
    for name in given:
        if name not in known:
            raise CourseError(f"A model config has no field {name!r}; {nearest(name, known)}")
    merged = {**fields, **{name: value for name, value in given.items() if value is not None}}
    return {name: _checked(name, value) for name, value in merged.items()}


_YARN_KEYS = (
    "beta_fast",
    "beta_slow",
    "truncate",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
)
_LLAMA3_KEYS = ("low_freq_factor", "high_freq_factor")


def _scaling_to_huggingface(scaling: RopeScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    out: dict[str, Any] = {
        "rope_type": scaling.type,
        "factor": scaling.factor,
    }
    if scaling.type != "dynamic":  # which counts from max_position_embeddings
        out["original_max_position_embeddings"] = scaling.original_max_seq_len
    keys = {"yarn": _YARN_KEYS, "llama3": _LLAMA3_KEYS}.get(scaling.type, ())
    out.update({k: getattr(scaling, k) for k in keys if getattr(scaling, k) is not None})
    return out


def _scaling_from_huggingface(
    rope: Mapping[str, Any], config: Mapping[str, Any], max_seq_len: int | None
) -> RopeScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind not in ROPE_SCALINGS:
        raise CourseError(
            f"config.json asks for RoPE scaling {kind!r}; known are {', '.join(ROPE_SCALINGS)}."
        )
    length = max_seq_len or 2048
    original = (
        config.get("original_max_position_embeddings")  # transformers lets this one come first
        or rope.get("original_max_position_embeddings")
        or length
    )
    if kind == "dynamic":
        original = length  # transformers takes max_position_embeddings, whatever else is said
    if not (_is_number(length) and _is_number(original) and original >= 1):
        raise CourseError(
            f"config.json's RoPE scaling {kind!r} needs a positive original length, "
            f"found {original!r}."
        )
    factor = rope.get("factor")
    if factor is None and kind == "yarn":
        factor = length / original
    if factor is None or not _is_number(factor):
        raise CourseError(
            f"config.json's RoPE scaling {kind!r} needs a number 'factor', found {factor!r}."
        )
    keys = {"yarn": _YARN_KEYS, "llama3": _LLAMA3_KEYS}.get(kind, ())
    extra = {k: rope[k] for k in keys if rope.get(k) is not None}
    for key, value in extra.items():
        if not (isinstance(value, bool) if key == "truncate" else _is_number(value)):
            raise CourseError(
                f"config.json's RoPE scaling has {key} {value!r}, which is no number."
            )
        extra[key] = value if key == "truncate" else float(value)
    return RopeScaling(kind, float(factor), int(original), **extra)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a small file, or a `CourseError` that says what is wrong with it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read: {error}.") from None
    except RecursionError:
        raise CourseError(f"{path} is nested too deeply to be a config.") from None
    except json.JSONDecodeError as error:
        raise CourseError(
            f"{path} is not valid JSON (line {error.lineno}: {error.msg}); "
            "the file may be cut short, so fetch it again."
        ) from None
    if not isinstance(data, dict):
        raise CourseError(f"{path} should hold a JSON object, found {type(data).__name__}.")
    return data


# Meta hard-codes these numbers behind `use_scaled_rope` (8 for 3.1; 3.2's small models use 32).
LLAMA_3_1_SCALING = RopeScaling("llama3", 8.0, 8192)

_LLAMA: dict[str, Any] = {"vocab_size": 32_000, "max_seq_len": 2048}
_LLAMA2: dict[str, Any] = {"vocab_size": 32_000, "max_seq_len": 4096, "norm_eps": 1e-5}
_LLAMA3: dict[str, Any] = {
    "vocab_size": 128_256,
    "rope_theta": 500_000.0,
    "norm_eps": 1e-5,
    "n_kv_heads": 8,
}
_STORIES: dict[str, Any] = {"tie_embeddings": True, "norm_eps": 1e-5}

PRESETS: dict[str, ModelConfig] = {
    # LLaMA, arXiv 2302.13971, table 2; epsilon from the released params.json of each size.
    "7B": ModelConfig(dim=4096, n_layers=32, n_heads=32, norm_eps=1e-6, **_LLAMA),
    "13B": ModelConfig(dim=5120, n_layers=40, n_heads=40, norm_eps=1e-6, **_LLAMA),
    "33B": ModelConfig(dim=6656, n_layers=60, n_heads=52, norm_eps=1e-6, **_LLAMA),
    "65B": ModelConfig(dim=8192, n_layers=80, n_heads=64, norm_eps=1e-5, **_LLAMA),
    # Llama 2, arXiv 2307.09288.
    "llama2-7B": ModelConfig(dim=4096, n_layers=32, n_heads=32, **_LLAMA2),
    "llama2-13B": ModelConfig(dim=5120, n_layers=40, n_heads=40, **_LLAMA2),
    "llama2-70B": ModelConfig(
        dim=8192, n_layers=80, n_heads=64, n_kv_heads=8, hidden_dim=28_672, **_LLAMA2
    ),
    # Llama 3, arXiv 2407.21783, table 3.
    "llama3-8B": ModelConfig(
        dim=4096, n_layers=32, n_heads=32, hidden_dim=14_336, max_seq_len=8192, **_LLAMA3
    ),
    "llama3.2-1B": ModelConfig(
        dim=2048,
        n_layers=16,
        n_heads=32,
        hidden_dim=8192,
        max_seq_len=131_072,
        rope_scaling=RopeScaling("llama3", 32.0, 8192),
        tie_embeddings=True,
        **_LLAMA3,
    ),
    # TinyLlama, arXiv 2401.02385.
    "tinyllama-1.1B": ModelConfig(
        dim=2048, n_layers=22, n_heads=32, n_kv_heads=4, hidden_dim=5632, norm_eps=1e-5, **_LLAMA
    ),
    # llama2.c's models of TinyStories.
    "stories260K": ModelConfig(
        dim=64,
        n_layers=5,
        n_heads=8,
        n_kv_heads=4,
        vocab_size=512,
        multiple_of=4,
        max_seq_len=512,
        **_STORIES,
    ),
    "stories15M": ModelConfig(
        dim=288,
        n_layers=6,
        n_heads=6,
        vocab_size=32_000,
        multiple_of=32,
        max_seq_len=256,
        **_STORIES,
    ),
    "stories42M": ModelConfig(
        dim=512,
        n_layers=8,
        n_heads=8,
        vocab_size=32_000,
        multiple_of=32,
        max_seq_len=1024,
        **_STORIES,
    ),
    "stories110M": ModelConfig(
        dim=768,
        n_layers=12,
        n_heads=12,
        vocab_size=32_000,
        multiple_of=32,
        max_seq_len=1024,
        **_STORIES,
    ),
    # Ours. `toy` runs anywhere in milliseconds; `toy-1M` is what `demo` trains.
    "toy": ModelConfig(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=512, multiple_of=32, max_seq_len=256
    ),
    "toy-1M": ModelConfig(
        dim=128,
        n_layers=4,
        n_heads=4,
        n_kv_heads=2,
        vocab_size=1024,
        multiple_of=32,
        max_seq_len=256,
        tie_embeddings=True,
    ),
}

ALIASES = {"30B": "33B"}  # the folder is named 30B, the paper says 33B, the count is 32.5B
