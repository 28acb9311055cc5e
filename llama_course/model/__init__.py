"""The model, readable alone: it imports torch, jaxtyping and the config, and nothing else."""

from llama_course.model.attention import Attention, attention, causal_mask, repeat_kv
from llama_course.model.components import Components, dense_weight
from llama_course.model.kv_cache import KVCache
from llama_course.model.rmsnorm import RMSNorm, rms_norm
from llama_course.model.rope import apply_rope, rope_angles, rope_frequencies
from llama_course.model.swiglu import FeedForward, swiglu
from llama_course.model.transformer import Llama, TransformerBlock

__all__ = [
    "Attention",
    "Components",
    "FeedForward",
    "KVCache",
    "Llama",
    "RMSNorm",
    "TransformerBlock",
    "apply_rope",
    "attention",
    "causal_mask",
    "dense_weight",
    "repeat_kv",
    "rms_norm",
    "rope_angles",
    "rope_frequencies",
    "swiglu",
]
