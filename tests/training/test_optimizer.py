"""AdamW: what decays, what does not, and the formula."""

from __future__ import annotations

import torch

from llama_course.config import ModelConfig
from llama_course.model import Llama
from llama_course.training import make_optimizer

SIZES = ModelConfig(dim=16, n_layers=2, n_heads=2, vocab_size=32, multiple_of=8)


def test_matrices_decay_and_norms_do_not() -> None:
    model = Llama(SIZES)
    optimizer = make_optimizer(model, 1e-3)
    decay = {id(w): g["weight_decay"] for g in optimizer.param_groups for w in g["params"]}
    for name, weight in model.named_parameters():
        assert decay[id(weight)] == (0.0 if "norm" in name else 0.1), name
    assert sum(decay[id(w)] == 0.0 for w in model.parameters()) == 2 * 2 + 1
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.9, 0.95), 1e-8)


def test_tied_weights_count_once_and_frozen_ones_not_at_all() -> None:
    model = Llama(ModelConfig(dim=16, n_layers=1, n_heads=2, vocab_size=32, tie_embeddings=True))
    model.layers.requires_grad_(False)
    optimizer = make_optimizer(model, 1e-3)
    kept = [id(w) for g in optimizer.param_groups for w in g["params"]]
    assert kept == [id(model.tok_embeddings.weight), id(model.norm.weight)]


def test_one_step_is_adamws_formula() -> None:
    """Loshchilov and Hutter's: decay applied to the weight, not to the gradient."""
    model = Llama(SIZES)
    weight, norm = model.layers[0].feed_forward.w1.weight, model.norm.weight
    before, norm_before = weight.detach().clone(), norm.detach().clone()
    optimizer = make_optimizer(model, 0.01, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    # In the first step both moments, bias-corrected, are those of a gradient of 1: it moves by lr.
    # Tolerance: the rounding of numbers near 0.02 (2e-9) and near 1 (6e-8), a few times.
    assert (weight - (before * (1 - 0.01 * 0.5) - 0.01)).abs().max() < 1e-8
    assert (norm - (norm_before - 0.01)).abs().max() < 3e-7
