"""A transformers model with the same weights as ours: the independent implementation."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llama_course.config import ModelConfig
from llama_course.model import Llama

LINES = {
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


def half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Meta's rows (pairs side by side) in transformers' order (first halves, then second)."""
    pairs = weight.view(heads, -1, 2, weight.shape[1])
    return pairs.transpose(1, 2).reshape(weight.shape)


def random_model(config: ModelConfig, seed: int = 0, spread: float = 0.08) -> Llama:
    """Random weights of a size at which every part moves the logits, norms included."""
    torch.manual_seed(seed)
    model = Llama(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=spread)
            if weight.ndim == 1:
                weight.add_(1.0)
    return model.eval()


def transformers_twin(
    model: Llama, *, permute: bool = True, eps: float | None = None
) -> LlamaForCausalLM:
    """transformers' Llama with our weights; `permute=False` or another eps plants an error."""
    c = model.config
    fields = c.to_huggingface()
    fields.pop("architectures")
    theirs = LlamaForCausalLM(LlamaConfig(**fields, attn_implementation="sdpa"))
    if eps is not None:
        for module in theirs.modules():
            if hasattr(module, "variance_epsilon"):
                module.variance_epsilon = eps
    ours = model.state_dict()
    state = {
        "model.embed_tokens.weight": ours["tok_embeddings.weight"],
        "model.norm.weight": ours["norm.weight"],
        "lm_head.weight": ours.get("output.weight", ours["tok_embeddings.weight"]),
    }
    for i in range(c.n_layers):
        for meta, hugging in LINES.items():
            weight = ours[f"layers.{i}.{meta}.weight"]
            if permute and meta.endswith("wq"):
                weight = half_split(weight, c.n_heads)
            if permute and meta.endswith("wk"):
                weight = half_split(weight, c.n_kv_heads)
            state[f"model.layers.{i}.{hugging}.weight"] = weight
    theirs.load_state_dict(state, strict=True)
    return theirs.eval()
