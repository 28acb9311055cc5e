"""Lesson 09: the whole model, a class that loads and runs a trained checkpoint."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from llama_course.checks import block
from llama_course.checks.block import (
    ABOUT,
    BF16,
    BY_HAND,
    COARSE,
    CONFIG,
    MAY_USE,
    ONE,
    PLAIN,
    ROUNDED,
    SETUP,
    WIDE,
    Steps,
    block_shapes,
    drawn,
    first_weights,
    gradients_of,
    names_and_shapes,
    read_of,
)
from llama_course.checks.exercise import LOOSE, Case, Hints, Mistake, edit
from llama_course.config import ModelConfig

STARTER = '''
class MyLlama(nn.Module):
    """The whole model: token ids in, a score for each token of the vocabulary out.

    self.config is the config it was made from. state_dict() has these names and no others:

    tok_embeddings.weight   (vocab_size, dim)
    layers.0.attention.wq.weight and so on: n_layers blocks, each with the nine weights of its own
    norm.weight             (dim,)
    output.weight           (vocab_size, dim); it is there whatever config.tie_embeddings says
    """

    def __init__(self, config: ModelConfig):
        """A new model of blocks Block(config), with norms of one and matrices that are drawn.

        Every matrix has mean 0 and deviation 0.02, but wo and w2 have 0.02 / sqrt(2 * n_layers).
        """
        raise NotImplementedError

    def new_cache(self, batch_size: int, max_seq_len: int) -> list[Cache]:
        """One empty Cache for each layer, with room for max_seq_len tokens in each row.

        They have the dtype of the weights, and are on their device.
        """
        raise NotImplementedError

    def forward(self, tokens: Tensor, *, cache: list[Cache] | None = None) -> Tensor:
        """The scores (batch, seq, vocab_size) of each next token, float32 and not normalised.

        tokens is (batch, seq), int64. Each token's row of the embedding, as it is, begins its
        stream; the blocks follow in their order; the last norm and the output read the stream.
        The last norm has config.norm_eps too.
        Without a cache the first token is at position 0.
        A token sees itself and all tokens before it, and none after it.
        With a cache (all rows equally long) the tokens stand behind those that are in it.
        Whether a text is read at once, in pieces or token by token, the scores are the same.
        Each layer uses its own Cache of the list. The model keeps nothing else from call to call.
        Angles are rope_angles of the whole-number positions, with config.head_dim and rope_theta,
        also beyond 1,000 and with bfloat16 weights.
        tokens are not changed. Without a cache, gradients flow to every weight.
        """
        raise NotImplementedError
'''

SOLUTION = """
class MyLlama(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.ParameterDict({"weight": torch.ones(config.dim)})
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        for weight in (self.tok_embeddings.weight, self.output.weight):
            nn.init.normal_(weight, std=0.02)

    def new_cache(self, batch_size: int, max_seq_len: int) -> list[Cache]:
        c, like = self.config, self.output.weight
        return [
            Cache(batch_size, c.n_kv_heads, max_seq_len, c.head_dim, like.dtype, like.device)
            for _ in range(c.n_layers)
        ]

    def forward(self, tokens: Tensor, *, cache: list[Cache] | None = None) -> Tensor:
        c, (batch, seq) = self.config, tokens.shape
        past = tokens.new_zeros(batch) if cache is None else cache[0].length
        positions = decode_positions(past, seq)[0]  # rows are alike
        keys = torch.arange(int(positions[-1]) + 1, device=tokens.device)
        mask = causal_mask(positions, keys)
        cos, sin = rope_angles(positions, c.head_dim, c.rope_theta)
        x = self.tok_embeddings(tokens)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, mask, None if cache is None else cache[i])
        x = rms_norm(x, self.norm.weight, c.norm_eps)
        return self.output(x).float()
"""

TIED = ModelConfig(
    dim=8, n_layers=1, n_heads=2, hidden_dim=12, vocab_size=9, norm_eps=1e-5, tie_embeddings=True
)


def model_shapes(c: ModelConfig) -> dict[str, tuple[int, ...]]:
    """All names of a model and their shapes."""
    layers = {
        f"layers.{i}.{name}": shape
        for i in range(c.n_layers)
        for name, shape in block_shapes(c).items()
    }
    whole = {"tok_embeddings.weight": (c.vocab_size, c.dim), **layers}
    return {**whole, "norm.weight": (c.dim,), "output.weight": (c.vocab_size, c.dim)}


def new_model(answer: Any, c: ModelConfig = CONFIG, seed: int = 100) -> Any:
    """The answer's model, filled."""
    model = answer.MyLlama(c)
    model.load_state_dict(drawn(model_shapes(c), seed))
    return model


def ids(*shape: int, seed: int, c: ModelConfig = CONFIG) -> Tensor:
    """Random tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(c.vocab_size, shape, generator=generator)


# ---- on the answer's side ------------------------------------------------------------------------


def filled(model: Any, room: int) -> Tensor:
    """How many tokens a Cache holds that was made with some room, and is given as many."""
    cache = model.new_cache(1, room)[0]
    tokens = torch.zeros(1, ONE.n_kv_heads, room, ONE.head_dim, dtype=BF16)
    cache.append(tokens, tokens)
    return cache.length


class ZerosAreZeros(TorchFunctionMode):
    """On meta, zeros_like is the one way to make zeros that imports a second's worth of modules."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.zeros_like and not kwargs:
            return torch.zeros(args[0].shape, dtype=args[0].dtype, device=args[0].device)
        return func(*args, **(kwargs or {}))


def is_on_meta(model: Any) -> bool:
    """Whether a new cache's keys and values are on meta, as far as the Cache shows any."""
    with ZerosAreZeros():
        cache = model.new_cache(1, 4)
    tensors = [v for v in getattr(cache[0], "__dict__", {}).values() if isinstance(v, Tensor)]
    floats = [value for value in tensors if value.is_floating_point()]
    return not floats or any(value.is_meta for value in floats)


# ---- scripts ------------------------------------------------------------------------------------


def result_shapes(answer: Any) -> Steps:
    model = new_model(answer, ONE)
    yield "the scores for tokens (2, 3)", torch.zeros_like(model(ids(2, 3, seed=1)))


def its_config(answer: Any) -> Steps:
    config = answer.MyLlama(ONE).config
    for name in ("n_layers", "vocab_size", "rope_theta"):
        yield f"config.{name}", getattr(config, name)


def by_hand(answer: Any) -> Steps:
    """Blocks of zeros add nothing, so the head reads the embedding, normed."""
    model = answer.MyLlama(BY_HAND)
    weights = {name: torch.zeros(shape) for name, shape in model_shapes(BY_HAND).items()}
    weights["tok_embeddings.weight"] = torch.tensor([[5.0, 5.0], [1.0, 7.0], [7.0, -1.0]])
    weights["norm.weight"] = torch.tensor([1.0, 2.0])
    weights["output.weight"] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    model.load_state_dict(weights)
    yield "the scores", model(torch.tensor([[1, 2]]))


def earlier_and_alone(answer: Any) -> Steps:
    model = new_model(answer, ONE)
    tokens = ids(2, 6, seed=2)
    yield "the scores of two rows", model(tokens)
    yield "the scores of the second row's first four tokens alone", model(tokens[1:, :4])


def against_the_reference(answer: Any, c: ModelConfig, seed: int) -> Steps:
    yield "the scores", new_model(answer, c, seed)(ids(2, 7, seed=seed, c=c))


def in_pieces(answer: Any) -> Steps:
    """One token, one more, then three, which use the room up to the last place."""
    model = new_model(answer, seed=200)
    cache = model.new_cache(2, 5)
    yield "the number of Caches", len(cache)
    tokens = ids(2, 5, seed=3)
    for start, stop in ((0, 1), (1, 2), (2, 5)):
        out = model(tokens[:, start:stop], cache=cache)
        yield f"the scores of tokens {start} to {stop - 1}", out
        lengths = [cache[i].length for i in range(CONFIG.n_layers)]
        yield "the tokens in the Caches after them", lengths


def empty_cache(answer: Any) -> Steps:
    """Its shape and dtype; it holds nothing yet, so its third axis is 0."""
    model = answer.MyLlama(ONE).to(BF16)
    keys, values = answer.hold(read_of)(model.new_cache(2, 5)[0])
    yield "the shapes of the Cache's keys and values", (tuple(keys.shape), tuple(values.shape))
    yield "their dtypes", (str(keys.dtype), str(values.dtype))
    wide = ONE.max_seq_len + 1
    yield f"the tokens in a Cache for {wide}, filled", answer.hold(filled)(model, wide)


def caches_in_turn(answer: Any) -> Steps:
    """Two caches in turn: what belongs to the one is not in the other, nor in the model."""
    model = new_model(answer, ONE, seed=200)
    tokens = ids(2, 4, seed=4)
    caches = [model.new_cache(1, 4) for _ in range(2)]
    for row, cache in enumerate(caches):
        yield f"the first scores, cache {row}", model(tokens[row : row + 1, :3], cache=cache)
    yield "the last scores, cache 0", model(tokens[:1, 3:], cache=caches[0])
    yield "the scores without a cache", model(tokens[:1, :2])


def in_bfloat16(answer: Any) -> Steps:
    model = new_model(answer, ONE, seed=300).to(BF16)
    yield "the scores, with a cache", model(ids(1, 6, seed=5), cache=model.new_cache(1, 6))


def on_meta(answer: Any) -> Steps:
    """Where the weights take no memory, the cache takes none either."""
    model = answer.MyLlama(ONE).to("meta")
    yield "the Cache is where the weights are", answer.hold(is_on_meta)(model)


def far_in_bfloat16(answer: Any) -> Steps:
    """Position 515 is no bfloat16 number, and its neighbours look backwards by one or two."""
    model = new_model(answer, PLAIN, seed=400).to(BF16)
    yield "the scores", model(ids(1, 520, seed=6, c=PLAIN))[:, -8:]


def far_out(answer: Any) -> Steps:
    model = new_model(answer, PLAIN, seed=400)
    tokens = ids(1, 1036, seed=7, c=PLAIN)
    cache = model.new_cache(1, 1036)
    yield "the last scores of the first 1,030", model(tokens[:, :1030], cache=cache)[:, -3:]
    yield "the scores of tokens 1,030 to 1,035", model(tokens[:, 1030:], cache=cache)


def inputs(answer: Any) -> Steps:
    yield "the scores", new_model(answer, ONE)(ids(2, 3, seed=9))


def all_gradients(answer: Any) -> Steps:
    model = new_model(answer, ONE)
    found = answer.hold(gradients_of)(model, ids(2, 4, seed=10))
    for name, value in zip(sorted(model_shapes(ONE)), found, strict=True):
        yield f"the gradient for {name}", value


ALL_NAMES = "state_dict() has these names and no others"
SCORES = "The scores (batch, seq, vocab_size) of each next token, float32 and not normalised."
ORDER = "the blocks follow in their order; the last norm and the output read the stream."
SEES = "A token sees itself and all tokens before it, and none after it."
PIECES = "Whether a text is read at once, in pieces or token by token, the scores are the same."
OWN = "Each layer uses its own Cache of the list. The model keeps nothing else from call to call."
ANGLES = "also beyond 1,000 and with bfloat16 weights."

# The first and the last block stand for all.
FEW = {
    name: shape
    for name, shape in model_shapes(WIDE).items()
    if not name.startswith("layers.") or name.split(".")[1] in "02"
}


CASES = (
    Case(
        "All weights have their names and shapes",
        "shape",
        ALL_NAMES,
        "layers in a plain list, a head that is left out",
        names_and_shapes("MyLlama", model_shapes(CONFIG), CONFIG),
        dtype=None,
    ),
    Case(
        "output.weight is there where the config ties it to the embedding",
        "shape",
        "it is there whatever config.tie_embeddings says",
        "no output for tied configs",
        names_and_shapes("MyLlama", model_shapes(TIED), TIED),
        dtype=None,
    ),
    Case(
        "The model knows its config",
        "shape",
        "self.config is the config it was made from.",
        "a config that is not kept",
        its_config,
        dtype=None,
    ),
    Case(
        "A score for each position and each token of the vocabulary",
        "shape",
        SCORES,
        "the last position only",
        result_shapes,
    ),
    Case(
        "By hand: blocks of zeros leave (1, 7), which is normed to (0.2, 1.4)",
        "example",
        ORDER,
        "no last norm, the embedding as the head, a scaled embedding",
        by_hand,
        expect={"the scores": torch.tensor([[[0.2, 2.8, 3.0], [1.4, -0.4, 1.0]]])},
    ),
    Case(
        "No score depends on a later token, or on another row",
        "property",
        SEES,
        "no mask, a mask the wrong way round",
        earlier_and_alone,
        tolerance=ROUNDED,
    ),
    Case(
        "A new cache has the model's key heads, width and dtype, and the room that is asked for",
        "property",
        "One empty Cache for each layer, with room for max_seq_len tokens in each row.",
        "a cache in float32, or for n_heads, or with the room of the config",
        empty_cache,
        dtype=None,
    ),
    Case(
        "The cache is on the device of the weights",
        "property",
        "They have the dtype of the weights, and are on their device.",
        "a cache that is always on the processor",
        on_meta,
        dtype=None,
    ),
    Case(
        "A new model's weights are drawn as the contract says",
        "property",
        "Every matrix has mean 0 and deviation 0.02, but wo and w2 have 0.02 / sqrt(2 * n_layers).",
        "torch's own way of drawing",
        first_weights("MyLlama", FEW),
        dtype=None,
        tolerance=ABOUT,
    ),
    Case(
        "The reference's numbers",
        "float32",
        ORDER,
        "anything else",
        partial(against_the_reference, c=CONFIG, seed=600),
        tolerance=ROUNDED,
    ),
    Case(
        "The reference's numbers for another config",
        "float32",
        "The last norm has config.norm_eps too.",
        "a number of the config that is written into the class",
        partial(against_the_reference, c=PLAIN, seed=700),
        tolerance=ROUNDED,
    ),
    Case(
        "With a cache: one token, one more, then three at once",
        "float32",
        PIECES,
        "positions that begin at 0 again, one Cache for all layers, a mask that does not fit",
        in_pieces,
        tolerance=ROUNDED,
    ),
    Case(
        "With bfloat16 weights the scores are float32",
        "low precision",
        SCORES,
        "scores in the wrong dtype",
        in_bfloat16,
        tolerance=COARSE,
    ),
    Case(
        "With bfloat16 weights, position 515 is still position 515",
        "low precision",
        ANGLES,
        "positions that are cast to the weights' dtype",
        far_in_bfloat16,
        tolerance=COARSE,
    ),
    Case(
        "More than 1,000 tokens, at once and then with a cache",
        "edge",
        ANGLES,
        "tables that end too early",
        far_out,
        tolerance=ROUNDED,
    ),
    Case(
        "Two caches in turn, then none",
        "edge",
        OWN,
        "positions or keys that the model itself remembers",
        caches_in_turn,
        tolerance=ROUNDED,
    ),
    Case(
        "tokens are afterwards what they were",
        "inputs",
        "tokens are not changed.",
        "work in place",
        inputs,
        tolerance=ROUNDED,
    ),
    Case(
        "Gradients flow to every weight",
        "gradient",
        "Without a cache, gradients flow to every weight.",
        "detach(), .data, no_grad()",
        all_gradients,
        tolerance=LOOSE,
    ),
)

# ---- mistakes ------------------------------------------------------------------------------------

POSITIONS = "positions = decode_positions(past, seq)[0]  # rows are alike"
KEYS = "keys = torch.arange(int(positions[-1]) + 1, device=tokens.device)"
MASKED = "mask = causal_mask(positions, keys)"
TABLES = "cos, sin = rope_angles(positions, c.head_dim, c.rope_theta)"
EMBED = "x = self.tok_embeddings(tokens)"
LOOP = "for i, layer in enumerate(self.layers):"
LAYER = "x = layer(x, cos, sin, mask, None if cache is None else cache[i])"
LAST_NORM = "x = rms_norm(x, self.norm.weight, c.norm_eps)"
HEAD = "return self.output(x).float()"
LAYERS = "nn.ModuleList(Block(config) for _ in range(config.n_layers))"
NEW_CACHE = (
    "Cache(batch_size, c.n_kv_heads, max_seq_len, c.head_dim, like.dtype, like.device)\n"
    "            for _ in range(c.n_layers)"
)
DRAW = "nn.init.normal_(weight, std=0.02)"


MISTAKES = (
    Mistake(
        "missing final norm",
        "The head reads the stream as it is; LLaMA norms it once more, by norm.weight.",
        (edit(LAST_NORM, ""),),
        "There is one norm more than two for each block. Where does it stand?",
    ),
    Mistake(
        "norm behind the head",
        "The last norm is applied to the scores; it belongs in front of the output.",
        (edit(LAST_NORM, "", HEAD,
              "return rms_norm(self.output(x), self.norm.weight, c.norm_eps).float()"),),
        "norm.weight has dim components, and the scores have vocab_size.",
    ),
    Mistake(
        "the last norm in each layer",
        "The last norm stands in the loop and norms the stream behind every block; it comes once, "
        "behind the last.",
        (edit(LAYER, f"{LAYER}\n            {LAST_NORM}", f"        {LAST_NORM}\n        {HEAD}",
              f"        {HEAD}"),),
        "How often is norm.weight read in one forward?",
    ),
    Mistake(
        "the blocks' results are added to the stream",
        "x + layer(x) adds the stream once more in each layer; a block's result is the new stream, "
        "and its two sums are inside it.",
        (edit(LAYER, f"x = x + {LAYER[4:]}"),),
        "If a block adds nothing, what does it return?",
    ),
    Mistake(
        "the embedding is normed too",
        "The stream is normed before the first block; the embedding's rows begin it as they are.",
        (edit(EMBED, "x = rms_norm(self.tok_embeddings(tokens), self.norm.weight, c.norm_eps)"),),
        "The first norm that a token meets is the one of block 0.",
    ),
    Mistake(
        "the embedding is scaled",
        "The embedding is multiplied by the root of dim, as in the first transformer and in "
        "Gemma; LLaMA takes its rows as they are.",
        (
            edit(EMBED, "x = self.tok_embeddings(tokens) * math.sqrt(c.dim)"),
        ),
        "What should the blocks read if you leave out everything but the embedding?",
    ),
    Mistake(
        "head tied",
        "The scores are products with the embedding; this model has an output of its own.",
        (
            edit(HEAD, "return (x @ self.tok_embeddings.weight.T).float()"),
            edit("self.output = nn.Linear(config.dim, config.vocab_size, bias=False)",
                 "self.output = nn.Linear(config.dim, config.vocab_size, bias=False)\n"
                 "        self.output.weight = self.tok_embeddings.weight"),
        ),
        "Which of your weights does the forward never read?",
    ),
    Mistake(
        "one layer's weights reused",
        "All layers are one and the same block, called n_layers times; [block] * n makes a list of "
        "n names for one object.",
        (
            edit(LAYERS, "nn.ModuleList([Block(config)] * config.n_layers)"),
            edit(LAYER, LAYER.replace("layer(", "self.layers[0](")),
            edit(LAYER, LAYER.replace("layer(", "self.layers[-1](")),
        ),
        "Are layers[0] and layers[1] two objects?",
    ),
    Mistake(
        "layers in a plain list",
        "The blocks are in a Python list, where PyTorch does not see them: their weights are in "
        "no state_dict, and no optimizer finds them.",
        (edit(LAYERS, "[Block(config) for _ in range(config.n_layers)]"),),
        "nn.ModuleList is a list whose items PyTorch knows of.",
    ),
    Mistake(
        "layers in reverse order",
        "The last block comes first.",
        (edit(LOOP, "for i, layer in reversed(list(enumerate(self.layers))):"),),
        "The embedding goes into layers[0].",
    ),
    Mistake(
        "one layer left out",
        "The first or the last block is made and never called.",
        (
            edit("enumerate(self.layers)", "enumerate(self.layers[:-1])"),
            edit(LOOP, "for i, layer in list(enumerate(self.layers))[1:]:"),
        ),
        "Count the calls of a block.",
    ),
    Mistake(
        "softmax on the scores",
        "The scores are turned into probabilities, or their logarithms; whoever calls the model "
        "does that, with a temperature or inside the loss.",
        (
            edit(HEAD, "return self.output(x).float().softmax(dim=-1)"),
            edit(HEAD, "return self.output(x).float().log_softmax(dim=-1)"),
        ),
        "Do the scores of a position sum to one?",
    ),
    Mistake(
        "scores in the weights' dtype",
        "With bfloat16 weights the scores stay bfloat16; they are returned in float32.",
        (edit(HEAD, "return self.output(x)"),),
        "Look at the dtype of the result for a model in bfloat16.",
    ),
    Mistake(
        "only the last position",
        "Only the last token's scores are returned; training needs those of every position.",
        (
            edit(HEAD, "return self.output(x[:, -1:]).float()"),
            edit(HEAD, "return self.output(x[:, -1]).float()"),
        ),
        "How many positions does the result have?",
    ),
    Mistake(
        "epsilon fixed in the last norm",
        "The last norm's epsilon is a number written into the class, or left out, or left to "
        "PyTorch.",
        (
            edit(LAST_NORM, "x = rms_norm(x, self.norm.weight, 0.0)"),
            edit(LAST_NORM, "x = rms_norm(x, self.norm.weight, 1e-5)"),
            edit(LAST_NORM, "x = rms_norm(x, self.norm.weight, 1e-6)"),
        ),
        "config.norm_eps is for all norms.",
    ),
    Mistake(
        "theta fixed",
        "The base of the angles is 10,000 whatever the config says; Llama 3 has 500,000.",
        (edit("c.rope_theta)", "10_000.0)"),),
        "config.rope_theta is there to be read.",
    ),
    Mistake(
        "no mask",
        "Every token sees every other one, later ones too.",
        (edit(MASKED, "mask = torch.ones(seq, len(keys), dtype=torch.bool)"),),
        "Change the last token of a text. Whose scores may change?",
    ),
    Mistake(
        "mask the wrong way round",
        "The mask lies on its side, so that tokens see the future and not the past.",
        (edit(MASKED, "mask = causal_mask(positions, keys).mT"),
         edit(MASKED, "mask = positions[:, None] <= keys")),
        "Change the last token of a text. Whose scores may change?",
    ),
    Mistake(
        "a token does not see itself",
        "The mask is off by one: each token sees those before it, and the first sees nothing.",
        (
            edit(MASKED, "mask = causal_mask(positions - 1, keys)"),
            edit(MASKED, "mask = torch.ones(seq, len(keys), dtype=torch.bool).tril("
                 "len(keys) - seq - 1)"),
        ),
        "May the first token look at itself?",
    ),
    Mistake(
        "the mask is not moved behind the cache",
        "The mask reaches all keys, but its first row is that of the first token of the text; the "
        "first new token stands behind those in the cache, and sees them all.",
        (
            edit(MASKED, "mask = torch.ones(seq, len(keys), dtype=torch.bool).tril()"),
            edit(MASKED, "mask = causal_mask(torch.arange(seq), keys)"),
        ),
        "Four tokens are in the cache, and three new ones come. Which keys does the first see?",
    ),
    Mistake(
        "the mask knows the new tokens only",
        "The mask is made from the new tokens alone, and does not reach the keys in the cache.",
        (
            edit(KEYS, "keys = positions"),
            edit(MASKED, "mask = causal_mask(torch.arange(seq), torch.arange(seq))"),
        ),
        "With a cache there are more keys than queries. What shape should the mask have?",
    ),
    Mistake(
        "no mask with a warm cache",
        "Once something is in the cache, the new tokens see everything, also each other's future; "
        "that is right for one token at a time only.",
        (
            edit(MASKED, "mask = causal_mask(positions, keys) | (past > 0).any()"),
        ),
        "Read a piece of three tokens with a cache. May the first of them see the third?",
    ),
    Mistake(
        "positions begin at 0 again",
        "The new tokens are turned as if they stood at the beginning; they stand behind those in "
        "the cache.",
        (
            edit(TABLES, "cos, sin = rope_angles(torch.arange(seq), c.head_dim, c.rope_theta)"),
            edit(POSITIONS, "positions = torch.arange(seq)"),
            edit(POSITIONS, "positions = torch.arange(seq)",
                 KEYS, "keys = torch.arange(int(past[0]) + seq)"),
        ),
        "Where does the sixth token stand when five are in the cache?",
    ),
    Mistake(
        "positions read after the first layer",
        "The cache's length is asked again in each layer; the first layer has already made its "
        "own longer by then.",
        (
            edit(LAYER, "now = positions if cache is None else "
                 "decode_positions(cache[0].length, seq)[0]\n            "
                 "cos, sin = rope_angles(now, c.head_dim, c.rope_theta)\n            " + LAYER),
        ),
        "Positions, angles and mask are made once, before the first layer.",
    ),
    Mistake(
        "one cache for all layers",
        "All layers put their keys into one Cache, where each layer needs its own.",
        (
            edit(NEW_CACHE, "Cache(batch_size, c.n_kv_heads, max_seq_len, c.head_dim, like.dtype, "
                 "like.device)\n        ] * c.n_layers + [  # the same object n times"),
            edit(LAYER, LAYER.replace("cache[i]", "cache[0]")),
        ),
        "Is cache[0] another object than cache[1], and does layer 1 get cache[1]?",
    ),
    Mistake(
        "the layers get no cache",
        "The cache is never handed to the blocks, so nothing is ever in it.",
        (edit(LAYER, "x = layer(x, cos, sin, mask)"),),
        "What is the fifth argument of a Block?",
    ),
    Mistake(
        "room of the config",
        "The caches have room for config.max_seq_len tokens, whatever room is asked for: too much "
        "memory for a short text, and too little for a longer one.",
        (edit("c.n_kv_heads, max_seq_len, c", "c.n_kv_heads, c.max_seq_len, c"),),
        "new_cache is told how many tokens are to come. Where do you use it?",
    ),
    Mistake(
        "the model remembers its cache",
        "The model keeps the cache from the last call and uses it where none is given; without a "
        "cache the first token is at position 0.",
        (
            edit("past = tokens", "self.held = cache = cache or getattr(self, 'held', None)\n"
                 "        past = tokens"),
        ),
        "What should a call without a cache know of the calls before it?",
    ),
    Mistake(
        "cache in float32",
        "The caches are float32 whatever the weights are: twice the memory, and keys of one dtype "
        "beside queries of another.",
        (edit("c.head_dim, like.dtype, like.device)",
              "c.head_dim, torch.float32, like.device)"),),
        "Cache takes a dtype. Where do you have the weights' from?",
    ),
    Mistake(
        "cache for n_heads",
        "The caches are made for as many heads as there are queries; keys and values have "
        "config.n_kv_heads.",
        (edit("Cache(batch_size, c.n_kv_heads", "Cache(batch_size, c.n_heads"),),
        "A cache holds keys before they are repeated.",
    ),
    Mistake(
        "cache on the processor",
        "The caches are always on the processor; they belong where the weights are.",
        (edit("like.dtype, like.device)", "like.dtype)"),),
        "Cache takes a device after the dtype.",
    ),
    Mistake(
        "head_dim from dim / n_heads",
        "The width of a head is computed as dim / n_heads. So it is in LLaMA 7B, but it is a field "
        "of its own, config.head_dim.",
        (
            edit("rope_angles(positions, c.head_dim", "rope_angles(positions, c.dim // c.n_heads"),
            edit("max_seq_len, c.head_dim", "max_seq_len, c.dim // c.n_heads"),
            edit("rope_angles(positions, c.head_dim", "rope_angles(positions, c.dim // c.n_heads",
                 "max_seq_len, c.head_dim", "max_seq_len, c.dim // c.n_heads"),
        ),
        "The heads of a model need not share dim evenly.",
    ),
    Mistake(
        "positions in the weights' dtype",
        "The positions are cast to the weights' dtype before the angles are made. In bfloat16 "
        "there is no 515: neighbours fall on one place.",
        (
            edit("rope_angles(positions, c", "rope_angles(positions.to(self.output.weight.dtype)"
                 ".long(), c"),
        ),
        "Positions are whole numbers, and stay so until rope_angles has them.",
    ),
    Mistake(
        "embedding or output drawn as PyTorch does",
        "One or both keep what nn.Embedding and nn.Linear draw by themselves, with a deviation of "
        "1 and one over the root of 3 dim; draw them with 0.02.",
        (
            edit(DRAW, "pass"),
            edit("(self.tok_embeddings.weight, self.output.weight)", "(self.output.weight,)"),
            edit("(self.tok_embeddings.weight, self.output.weight)",
                 "(self.tok_embeddings.weight,)"),
        ),
        "An embedding is drawn with deviation 1 unless you draw it anew.",
    ),
    Mistake(
        "everything drawn alike",
        "The model draws all its matrices anew with deviation 0.02, and so undoes what each Block "
        "has done for wo and w2.",
        (
            edit("for weight in (self.tok_embeddings.weight, self.output.weight):",
                 "for weight in (w for w in self.parameters() if w.dim() == 2):"),
        ),
        "Blocks draw their own weights. Which two matrices are left?",
    ),
    Mistake(
        "no output for tied embeddings",
        "Where the config says tie_embeddings, there is no output.weight; it is always there, and "
        "load puts the embedding's numbers into it.",
        (
            edit("self.output = nn.Linear(config.dim, config.vocab_size, bias=False)",
                 "self.output = nn.Linear(config.dim, config.vocab_size, bias=False)\n"
                 "        if config.tie_embeddings:\n"
                 "            self.output.weight = None",
                 "for weight in (self.tok_embeddings.weight, self.output.weight):",
                 "for weight in self.tok_embeddings.parameters():",
                 "self.config, self.output.weight", "self.config, self.tok_embeddings.weight",
                 HEAD,
                 "w = self.tok_embeddings.weight if c.tie_embeddings else self.output.weight\n"
                 "        return (x @ w.T).float()"),
        ),
        "You need not look at config.tie_embeddings at all.",
    ),
)  # fmt: skip


class BesideBlock(block.OnTheLibrary):
    """An exercise whose texts find the reference's Block, as a learner's class finds theirs."""

    def beside(self) -> dict[str, Any]:
        """The reference's Block."""
        return {"Block": BLOCK}


# Under this module's name, whose frames count as the check's own: an answer may call this Block.
BLOCK = block.EXERCISE.load(block.SOLUTION, module="llama_course.checks.block")["Block"]

EXERCISE = BesideBlock(
    name="my_llama",
    lesson="09",
    title="The whole model",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Positions, angles and mask are the same for all layers. Make them once, and ask "
        "before that how many tokens the cache already holds.",
        outline="The number of tokens before these is cache[0].length, or zeros without a cache. "
        "decode_positions goes on from there, one row of it is enough; causal_mask compares it "
        "with all positions from 0 on; rope_angles makes the tables. Then embedding, each layer "
        "with its own Cache, rms_norm, output, float().",
    ),
    difficulty="medium",
    importance="It loads the checkpoints of LLaMA, Llama 2 and Llama 3, and generates.",
    minutes=20,
    setup=SETUP,
    may_use=MAY_USE,
    forbidden=("transformers.*",),
    reference={"Block": BLOCK},  # so that a mistake in one's Block costs that exercise only
)
