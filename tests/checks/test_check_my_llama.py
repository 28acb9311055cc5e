"""Lesson 09's second exercise: what passes, what fails, and what each failure is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from jaxtyping import config

from llama_course import Llama
from llama_course.checks import block
from llama_course.checks.block import CONFIG
from llama_course.checks.engine.judge import BORROWED, PASS, judge
from llama_course.checks.exercise import edit
from llama_course.checks.my_llama import (
    DRAW,
    EMBED,
    EXERCISE,
    HEAD,
    LAST_NORM,
    LAYER,
    LAYERS,
    LOOP,
    MASKED,
    NEW_CACHE,
    POSITIONS,
    TABLES,
    model_shapes,
)
from llama_course.checks.testing import ExerciseTests, judged, names

ONE_PIECE = (
    block.SETUP
    + block.SOLUTION.replace("class Block", "class Layer")
    + """
from llama_course.mine import causal_mask, rope_angles

class MyLlama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = self.c = c
        self.tok_embeddings = nn.Embedding.from_pretrained(
            torch.randn(c.vocab_size, c.dim) * 0.02, freeze=False)
        self.layers = nn.Sequential(*[Layer(c) for _ in range(c.n_layers)])
        self.norm = nn.RMSNorm(c.dim, c.norm_eps)
        self.output = nn.Linear(c.dim, c.vocab_size, bias=False)
        torch.nn.init.normal_(self.output.weight, 0, 0.02)

    def new_cache(self, batch_size, max_seq_len):
        w, caches = self.norm.weight, []
        while len(caches) < len(self.layers):
            caches.append(Cache(batch_size, self.c.n_kv_heads, max_seq_len, self.c.head_dim,
                                dtype=w.dtype, device=w.device))
        return caches

    def forward(self, tokens, cache=None):
        start = 0 if cache is None else int(cache[-1].length.max())
        where = torch.arange(start, start + tokens.shape[-1])
        see = where[:, None] >= torch.arange(start + tokens.shape[-1])[None]
        tables = rope_angles(where, self.c.head_dim, self.c.rope_theta)
        stream = torch.nn.functional.embedding(tokens, self.tok_embeddings.weight)
        for i in range(self.c.n_layers):
            stream = self.layers[i](stream, *tables, see, *([] if cache is None else [cache[i]]))
        return self.output(self.norm(stream)).to(torch.float32)
"""
)
BY_ROWS = """
class Weight(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.weight = nn.Parameter(made)

class MyLlama(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        sizes = (config.vocab_size, config.dim)
        self.tok_embeddings = Weight(torch.empty(sizes).normal_(std=0.02))
        self.layers = nn.ModuleList()
        for _ in range(config.n_layers):
            self.layers.append(Block(config))
        self.norm = Weight(torch.ones(config.dim))
        self.output = Weight(torch.empty(sizes).normal_(std=0.02))

    def new_cache(self, batch_size, max_seq_len):
        c, w = self.config, next(self.parameters())
        make = lambda: Cache(batch_size, c.n_kv_heads, max_seq_len, c.head_dim, w.dtype, w.device)
        return list(map(lambda _: make(), self.layers))

    def forward(self, tokens, *, cache=None):
        c = self.config
        length = torch.zeros(len(tokens), dtype=torch.long) if cache is None else cache[0].length
        positions = decode_positions(length, tokens.size(1))  # (batch, seq)
        cos, sin = rope_angles(positions, c.head_dim, c.rope_theta)
        mask = causal_mask(positions, torch.arange(int(positions.max()) + 1))[:, None]
        x = torch.eye(c.vocab_size, dtype=self.norm.weight.dtype)[tokens]
        x = x @ self.tok_embeddings.weight
        for layer, own in zip(self.layers, cache or [None] * c.n_layers):
            x = layer(x, cos, sin, mask, own)
        x = rms_norm(x, self.norm.weight, c.norm_eps)
        return torch.einsum("bsd,vd->bsv", x.float(), self.output.weight.float())
"""


EMPTY = "a cache that stays empty is as good as none"
AGAIN = "the angles are made anew in each layer, from what the first mistake has not touched"
SHAPE = "it ends in a crash before the other shows"
WARM = (
    "mask the wrong way round",
    "the mask knows the new tokens only",
    "no mask with a warm cache",
    "positions begin at 0 again",
    "one cache for all layers",
    "the mask is not moved behind the cache",
    "the model remembers its cache",
)
TABLED = (
    "theta fixed",
    "positions begin at 0 again",
    "positions in the weights' dtype",
    "head_dim from dim / n_heads",
)
DEEP = (
    "one layer's weights reused",
    "layers in reverse order",
    "positions read after the first layer",
    "one cache for all layers",
    "the model remembers its cache",
    "head_dim from dim / n_heads",
)
ALL = (
    "missing final norm",
    "norm behind the head",
    "the embedding is normed too",
    "the embedding is scaled",
    "head tied",
    "one layer's weights reused",
    "layers in reverse order",
    "one layer left out",
    "softmax on the scores",
    "scores in the weights' dtype",
    "only the last position",
    "epsilon fixed in the last norm",
    "theta fixed",
    "no mask",
    "mask the wrong way round",
    "the mask knows the new tokens only",
    "no mask with a warm cache",
    "positions begin at 0 again",
    "positions read after the first layer",
    "one cache for all layers",
    "the layers get no cache",
    "positions in the weights' dtype",
    "everything drawn alike",
    "the last norm in each layer",
    "the blocks' results are added to the stream",
    "a token does not see itself",
    "the mask is not moved behind the cache",
    "the model remembers its cache",
    "head_dim from dim / n_heads",
)


def hidden(by: str, why: str, *others: str) -> dict[tuple[str, str], str]:
    """Pairs, in the order of the catalogue, of which only `by` shows."""
    order = [mistake.name for mistake in EXERCISE.mistakes]
    pairs = [sorted((by, other), key=order.index) for other in others]
    return {(first, second): why for first, second in pairs}


@pytest.fixture(autouse=True)
def unhooked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hundreds of answers are played: without the shape checks, except for the right ones."""
    config.update("jaxtyping_disable", "right" not in request.node.name)
    yield
    config.update("jaxtyping_disable", False)


class TestMyLlama(ExerciseTests):
    exercise = EXERCISE
    right = (
        ONE_PIECE,
        BY_ROWS,
        # the model draws everything once more, wo and w2 smaller
        edit(
            f"for weight in (self.tok_embeddings.weight, self.output.weight):\n            {DRAW}",
            "for name, weight in self.named_parameters():\n"
            "            if weight.dim() == 2:\n"
            "                deep = (2 * config.n_layers) ** -0.5\n"
            "                small = name.endswith(('wo.weight', 'w2.weight'))\n"
            "                nn.init.normal_(weight, std=0.02 * (deep if small else 1.0))",
        ),
        # one parameter where the config ties the head; its name is there all the same
        edit(
            "for weight in (self.tok",
            "if config.tie_embeddings:\n            self.output.weight "
            "= self.tok_embeddings.weight\n        for weight in (self.tok",
        ),
        # each layer's positions begin elsewhere: only distances count
        edit(
            LAYER,
            "cos, sin = rope_angles(positions + i, c.head_dim, c.rope_theta)\n            " + LAYER,
        ),
        # angles once more in each layer, from that layer's own cache
        edit(
            LAYER,
            "own = None if cache is None else cache[i]\n"
            "            past = tokens.new_zeros(batch) if own is None else own.length\n"
            "            now = decode_positions(past, seq)[0]\n"
            "            tables = rope_angles(now, c.head_dim, c.rope_theta)\n"
            "            x = layer(x, *tables, mask, own)",
        ),
    )
    wrong = (
        edit(EMBED, "x = self.tok_embeddings(tokens) + 0.01"),
        edit(EMBED, "x = self.output.weight[tokens]"),
        edit(EMBED, "x = self.tok_embeddings(tokens.flip(-1)).flip(-1) if seq > 6 else "
             "self.tok_embeddings(tokens.flip(-1))"),
        edit(EMBED, "x = self.tok_embeddings(tokens).detach()"),
        edit(EMBED, "x = self.tok_embeddings(tokens % 8)"),
        edit(EMBED, "x = self.tok_embeddings(tokens)\n        "
             "x = x + torch.arange(seq)[:, None] * 0.01"),
        edit(LOOP, "for i, layer in enumerate(self.layers, 1):",
             "cache[i]", "cache[i % c.n_layers]", LAST_NORM,
             f"{LAST_NORM}\n        x = x * (1 + 1e-3)"),
        edit(LOOP, "for i, layer in [*enumerate(self.layers)] * 2:"),
        edit(LAYER, LAYER.replace("cos, sin", "sin, cos")),
        edit(LAYER, LAYER.replace("cos, sin", "cos, -sin")),
        edit(LAYER, LAYER + "\n            x = rms_norm(x, self.norm.weight, c.norm_eps)"),
        edit(LAYER, LAYER + ".detach()"),
        edit(LAST_NORM, "x = rms_norm(x, torch.ones_like(self.norm.weight), c.norm_eps)"),
        edit(LAST_NORM, "x = rms_norm(x, self.layers[-1].ffn_norm.weight, c.norm_eps)"),
        edit(LAST_NORM, "x = nn.functional.layer_norm(x, (c.dim,), self.norm.weight, None, "
             "c.norm_eps)"),
        edit(LAST_NORM, f"{LAST_NORM}\n        {LAST_NORM}"),
        edit(LAST_NORM, f"{LAST_NORM}\n        x[:, 0] = 0"),
        edit(LAYER, "h = layer(x, cos, sin, mask, None if cache is None else cache[i])",
             LAST_NORM, LAST_NORM.replace("(x", "(h")),
        edit(LAYER, LAYER.replace("cache is None", "cache is None or seq > 1")),
        edit(LAST_NORM, "x = rms_norm(x, self.layers[0].attention_norm.weight, c.norm_eps)"),
        edit(EMBED, "x = self.tok_embeddings(tokens) + positions[:, None].float().sin()"),
        edit(EMBED, "with torch.no_grad():\n            x = self.tok_embeddings(tokens)"),
        edit(EMBED, "x = self.output.weight[tokens]",
             HEAD, "return (x @ self.tok_embeddings.weight.T).float()"),
        edit(HEAD, "return torch.log_softmax(self.output(x).float(), 1)"),
        edit("past = tokens.new_zeros(batch) if cache is None else cache[0].length",
             "past = tokens.new_zeros(batch) + (0 if cache is None else len(cache))"),
        edit(POSITIONS, POSITIONS.replace("past,", "(past - 1).clamp(min=0),")),
        edit(TABLES, "cos, sin = (t[positions % 512] for t in rope_angles(torch.arange(512), "
             "c.head_dim, c.rope_theta))"),
        edit(DRAW, "nn.init.normal_(weight, std=config.dim ** -0.5)"),
        edit(HEAD, "return self.output(x).float() / math.sqrt(c.dim)"),
        edit(HEAD, "return self.output(x).float().tanh() * 30"),
        edit(HEAD, "return self.output(x).bfloat16().float()"),
        edit(HEAD, "return self.output(x).double()"),
        edit(HEAD, "return self.output(x).float()[..., :-1]"),
        edit(HEAD, "return self.output(x).float().transpose(1, 2)"),
        edit(HEAD, "return self.output(x).float(), cache"),
        edit(HEAD, "return self.output(x).float().argmax(-1)"),
        edit(POSITIONS, POSITIONS.replace("(past, seq)[0]", "(past + 1, seq)[0]")),
        edit(POSITIONS, POSITIONS.replace("(past, seq)[0]", "(past, seq)[0].flip(0)")),
        edit(POSITIONS, POSITIONS.replace("(past, seq)[0]", "(past, seq)[0].clamp(max=511)")),
        edit(TABLES, "cos, sin = rope_angles(positions, c.dim // c.n_heads * 2, c.rope_theta)"),
        edit(TABLES, "cos, sin = rope_angles(positions * 0, c.head_dim, c.rope_theta)"),
        edit(TABLES, "cos, sin = rope_angles(positions % 1024, c.head_dim, c.rope_theta)"),
        edit(TABLES, "cos, sin = (t.bfloat16().float() for t in rope_angles(positions, c.head_dim, "
             "c.rope_theta))"),
        edit(MASKED, "mask = causal_mask(keys, positions)"),
        edit(MASKED, "mask = causal_mask(positions + 1, keys)"),
        edit(MASKED, "mask = causal_mask(positions, keys) & (keys > positions[:, None] - 4)"),
        edit(MASKED, "mask = ~causal_mask(positions, keys)"),
        edit(NEW_CACHE, NEW_CACHE.replace("max_seq_len", "max_seq_len - 1")),
        edit(NEW_CACHE, NEW_CACHE.replace("max_seq_len", "c.max_seq_len // 16")),
        edit(NEW_CACHE, NEW_CACHE.replace("batch_size", "1")),
        edit(NEW_CACHE, NEW_CACHE.replace("range(c.n_layers)", "range(c.n_layers - 1)")),
        edit(LAYERS, "nn.ModuleList(Block(config) for _ in range(config.n_layers + 1))"),
        edit(LAYERS, "nn.ModuleList(Block(config) for _ in range(2))"),
        edit(DRAW, "nn.init.normal_(weight, std=0.03)"),
        edit(DRAW, "nn.init.zeros_(weight)"),
        edit("config.vocab_size, bias=False)", "config.vocab_size)"),
        edit('self.norm = nn.ParameterDict({"weight": torch.ones(config.dim)})',
             'self.norm = nn.ParameterDict({"weight": torch.zeros(config.dim)})'),
        edit("past = tokens.new_zeros(batch) if cache is None else cache[0].length",
             "self.past = past = getattr(self, 'past', 0) * 0 + (tokens.new_zeros(batch) if cache "
             "is None else cache[0].length) + getattr(self, 'n', 0)\n        self.n = 1"),
    )  # fmt: skip
    equivalent: ClassVar = {
        "0 -> -1": "all rows stand at the same positions: the last is as good as the first",
        "0 -> -1 #2": "all layers hold equally many tokens: the last is as good as the first",
        "int(positions[-1]) -> positions[-1]": "arange takes a tensor of one number as well",
        "torch.arange(int(positions[-1]) + 1, device=tokens.device) -> "
        "torch.arange(int(positions[-1]) + 1)": "all that a test can be sure of is the processor",
    }
    masked: ClassVar = {
        **hidden("layers in a plain list", "the layers cannot be filled in", *ALL),
        **hidden("the layers get no cache", EMPTY, *WARM),
        **hidden("positions read after the first layer", AGAIN, *TABLED),
        **hidden("norm behind the head", "only a model of one layer gets that far", *DEEP),
        ("one layer's weights reused", "layers in reverse order"): "one block has no order",
        ("layers in reverse order", "positions read after the first layer"): (
            "layer 0, which is asked for its length, comes last"
        ),
        ("one layer left out", "positions read after the first layer"): "one layer is left",
        ("one layer left out", "positions in the weights' dtype"): "no layer is left there",
        **hidden(
            "the model remembers its cache",
            "where it is called without a cache again, no cache has been filled",
            "one layer left out",
            "mask the wrong way round",
            "cache for n_heads",
        ),
        ("the mask is not moved behind the cache", "positions begin at 0 again"): (
            "the two together are another form of the second"
        ),
        ("the mask is not moved behind the cache", "the mask knows the new tokens only"): (
            "the mask is as high and as wide as the new tokens either way"
        ),
        ("softmax on the scores", "positions in the weights' dtype"): (
            "probabilities differ by less than what bfloat16 may"
        ),
        ("only the last position", "positions in the weights' dtype"): (
            "the one position that is left is no further off than bfloat16 may be"
        ),
        ("mask the wrong way round", "positions begin at 0 again"): SHAPE,
        ("mask the wrong way round", "positions read after the first layer"): SHAPE,
        ("the mask knows the new tokens only", "no mask with a warm cache"): SHAPE,
        ("the mask knows the new tokens only", "positions read after the first layer"): SHAPE,
        ("positions read after the first layer", "cache for n_heads"): SHAPE,
        ("one cache for all layers", "cache for n_heads"): SHAPE,
        ("embedding or output drawn as PyTorch does", "everything drawn alike"): (
            "where nothing is drawn, it does not matter of what"
        ),
    }

    def references(self) -> list[str]:
        """The Block among the references is the first exercise's, and has its own tests."""
        return [self.exercise.solution]

    def test_the_library_s_model_gives_the_same_scores(self) -> None:
        mine, theirs = EXERCISE.truth["MyLlama"](CONFIG), Llama(CONFIG)
        assert list(mine.state_dict()) == list(theirs.state_dict()) == list(model_shapes(CONFIG))
        theirs.load_state_dict(mine.state_dict())
        tokens = torch.randint(CONFIG.vocab_size, (2, 9))
        with torch.no_grad():
            # Other orders of the same sums: some roundings of float32.
            torch.testing.assert_close(mine(tokens), theirs(tokens))

    def test_a_wrong_block_costs_nothing_here(self) -> None:
        """MyLlama is tested with the reference's Block, whatever the learner's own does."""
        wrong = block.EXERCISE.text_of(block.MISTAKES[0].forms[0])
        namespace: dict = {"__name__": "answer"}
        exec(f"{block.SETUP}\n{EXERCISE.setup}\n{wrong}\n{EXERCISE.solution}", namespace)
        own = namespace["Block"]
        answers = {"MyLlama": namespace["MyLlama"]}
        assert judge(EXERCISE, answers, {})["MyLlama"].state == PASS
        assert namespace["Block"] is own, "and it is put back"
        found = judge(block.EXERCISE, {"Block": own}, {})
        assert names(found) == ["post-norm"]

    def test_the_library_s_own_model_is_borrowed(self) -> None:
        text = "from llama_course.model import Llama\nclass MyLlama(Llama):\n    pass\n"
        assert judged(EXERCISE, text)["MyLlama"].state == BORROWED
