"""Two stored weights: equal, or how they differ, and which usual mistake makes one of the other.

Weights are copied and never computed, so they must be equal to the last bit. Where the two are
stored in different dtypes, the finer is rounded to the coarser first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from llama_course.checkpoints.huggingface import huggingface_to_meta_rows, meta_to_huggingface_rows
from llama_course.checkpoints.names import EMBEDDING, HEAD
from llama_course.checkpoints.reading import dtype_name
from llama_course.config import ModelConfig
from llama_course.parity.guesses import NOTHING
from llama_course.parity.report import Difference
from llama_course.parity.rules import EXACT, LOW, Gap, gap
from llama_course.parity.sides import Side
from llama_course.parity.trace import order_of

STORED = "weights: equal to the last bit, since they are copied and not computed"
BITS = {torch.float16: 11, torch.bfloat16: 8, torch.float32: 24, torch.float64: 53}
_MIXED = ": they count as equal within 2^-8, bfloat16's rounding"
_REORDERED = ("attention.wq", "attention.wk", "attention.wv")


def compare_weights(
    a: Side, b: Side, names: list[str], dtype: torch.dtype | None
) -> tuple[list[Difference], set[str]]:
    """The weights that differ, in the order of a forward, and how dtypes were made alike."""
    found, notes = [], set()
    for name in names:
        one, other, note = alike(a.weight(name), b.weight(name), dtype)
        notes |= {note} if note else set()
        apart = _apart(one, other, note.endswith(_MIXED))
        if apart is not None:
            where = f"{name.removesuffix('.weight')} weight"
            order = (*order_of(name), 0)
            found.append(Difference(where, order, apart.words, apart.max_abs, apart.relative))
    return sorted(found, key=lambda d: d.order), notes


def alike(a: Tensor, b: Tensor, dtype: torch.dtype | None) -> tuple[Tensor, Tensor, str]:
    """Both in one dtype, and a sentence on what was rounded."""
    if dtype is not None:
        return a.to(dtype), b.to(dtype), ""
    if a.dtype == b.dtype:
        return a, b, ""
    both = f"A has weights in {dtype_name(a.dtype)} where B has {dtype_name(b.dtype)}"
    if {a.dtype, b.dtype} == {torch.float16, torch.bfloat16}:
        return a.float(), b.float(), f"{both}{_MIXED}"
    coarse = a.dtype if BITS[a.dtype] < BITS[b.dtype] else b.dtype
    note = f"{both}: compared after rounding to {dtype_name(coarse)}"
    return a.to(coarse), b.to(coarse), note


def _apart(a: Tensor, b: Tensor, mixed: bool) -> Gap | None:
    if mixed:  # neither has all digits of the other; below 2^-14 float16 has still fewer
        room = 2.0**-8 * a.abs() + 2.0**-24
        if a.shape == b.shape and bool(((a - b).abs() <= room).all()):
            return None
    return gap(EXACT, a, b)


def what_it_means(a: Side, b: Side, name: str, dtype: torch.dtype | None) -> tuple[str, ...]:
    """Which usual mistakes give B's weight, tried one by one.

    Where both are stored in one dtype that is how they are tried, since rounding hides much.
    """
    stored = a.weight(name), b.weight(name)
    one, other, _ = alike(*stored, dtype if stored[0].dtype != stored[1].dtype else None)
    fit = [
        meaning
        for meaning, make in _guesses(a, b, name)
        if (made := make(one)) is not None
        and made.shape == other.shape
        and torch.equal(made.to(other.dtype), other)
    ]
    if not fit:
        loosely = _loosely(one, other)
        fit = [] if loosely is None else [loosely]
    return tuple(f"What fits: {meaning}" for meaning in fit) or (NOTHING,)


Make = Callable[[Tensor], Tensor | None]


def _guesses(a: Side, b: Side, name: str) -> Iterator[tuple[str, Make]]:
    part = name.removesuffix(".weight").split(".", 2)[-1]
    if part in _REORDERED:
        yield from _row_orders(a.config, part)
    for low in (torch.bfloat16, torch.float16):
        yield f"B was rounded to {dtype_name(low)}; nothing else differs here.", _rounded(low)
    yield "it is transposed; a weight is stored as (out, in).", _transposed
    yield from _other_weights(a, b, name)
    if name == HEAD:
        yield (
            "the head is tied: B has the embedding in its place.",
            _taken(b, EMBEDDING),
        )
    yield "it is all zeros.", torch.zeros_like
    yield "it is all ones, as a norm begins.", torch.ones_like
    yield "B holds 1 + weight.", lambda w: w + 1
    yield "B holds weight - 1.", lambda w: w - 1
    for n in (2, 4, 8):
        for axis, what in ((0, "rows"), (1, "columns")):
            yield f"its {n} shards were joined in another order of {what}.", _turned(n, axis)


def _row_orders(config: ModelConfig, part: str) -> Iterator[tuple[str, Make]]:
    """The orders in which converters leave the rows of q and k, and of v by mistake."""
    own = config.n_heads if part.endswith("wq") else config.n_kv_heads
    yield (
        "its rows are in Hugging Face's order, and Meta's was expected: the permutation was left "
        "out.",
        _moved(meta_to_huggingface_rows, own),
    )
    yield (
        "its rows were taken for Hugging Face's and permuted, and they were Meta's already.",
        _moved(huggingface_to_meta_rows, own),
    )
    for move, when in (
        (meta_to_huggingface_rows, "read"),
        (huggingface_to_meta_rows, "written"),
    ):
        yield (
            f"its rows were permuted the wrong way round when it was {when}.",
            _twice(_moved(move, own)),
        )
    if part.endswith("wq") or config.n_heads == config.n_kv_heads:
        return
    heads = config.n_heads
    for there, back in ((own, heads), (heads, own)):

        def mixed(w: Tensor, there: int = there, back: int = back) -> Tensor | None:
            moved = _moved(meta_to_huggingface_rows, there)(w)
            return None if moved is None else _moved(huggingface_to_meta_rows, back)(moved)

        yield (
            f"its rows were permuted as if it had {heads} heads (n_heads); it has {own} "
            "(n_kv_heads).",
            mixed,
        )


def _rounded(dtype: torch.dtype) -> Make:
    return lambda w: w.to(dtype).to(w.dtype)


def _taken(side: Side, name: str) -> Make:
    return lambda w: side.weight(name).to(w.dtype)


def _moved(move: Callable[[Tensor, int], Tensor], heads: int) -> Make:
    return lambda w: move(w, heads) if w.ndim == 2 and w.shape[0] % (2 * heads) == 0 else None


def _twice(make: Make) -> Make:
    def again(w: Tensor) -> Tensor | None:
        once = make(w)
        return None if once is None else make(once)

    return again


def _transposed(w: Tensor) -> Tensor | None:
    return w.T if w.ndim == 2 else None


def _turned(n: int, axis: int) -> Make:
    def make(w: Tensor) -> Tensor | None:
        if w.ndim <= axis or w.shape[axis] % n or w.shape[axis] == n == 1:
            return None
        return torch.cat(w.chunk(n, axis)[::-1], axis)

    return make


def _other_weights(a: Side, b: Side, name: str) -> Iterator[tuple[str, Make]]:
    """Another weight of A's of the same shape, in the wrong place."""
    swaps = {"w1": "w3", "w3": "w1", "wq": "wk", "wk": "wv", "wv": "wk"}
    swaps |= {"attention_norm": "ffn_norm", "ffn_norm": "attention_norm"}
    if not name.startswith("layers."):
        return
    layers, layer, part = name.split(".", 2)
    stem, leaf = part.removesuffix(".weight").rpartition(".")[::2]
    if leaf in swaps:
        other = ".".join(filter(None, (layers, layer, stem, swaps[leaf], "weight")))
        told = "gate and up (w1 and w3)" if leaf in ("w1", "w3") else f"{leaf} and {swaps[leaf]}"
        mutual = torch.equal(b.weight(other), a.weight(name).to(b.weight(other).dtype))
        way = f"{told} are swapped" if mutual else "one weight serves in both places"
        yield f"it is A's {swaps[leaf]}: {way}.", _taken(a, other)
    i = int(layer)
    near = dict.fromkeys((0, i - 1, i + 1, a.config.n_layers - 1))
    for j in near:
        if j != i and 0 <= j < a.config.n_layers:
            yield (
                f"it is layer {j}'s: one layer's weights serve in the place of another's.",
                _taken(a, f"layers.{j}.{part}"),
            )


def _loosely(a: Tensor, b: Tensor) -> str | None:
    """What is told by numbers that are not all equal."""
    if a.shape != b.shape or not bool(a.isfinite().all() and b.isfinite().all()):
        return None
    x, y = a.double(), b.double()
    eps = torch.finfo(b.dtype).eps
    if b.dtype not in LOW and (x - y).abs().max() <= 8 * eps * x.abs().max():
        return "rounding in float32, as after arithmetic that was undone again."
    factor = float((x * y).sum() / (x * x).sum().clamp_min(1e-300))
    if abs(factor - 1) > 8 * eps and bool(((y - factor * x).abs() <= eps * y.abs()).all()):
        return f"every number is {factor:.{3 if b.dtype in LOW else 6}g} times A's."
    if a.ndim == 2:
        for axis, what in ((1, "rows"), (0, "columns")):
            if _same_set(x, y, axis):
                return f"the same {what} as A's, in another order."
            if _same_set(x, y, axis, signs=True):
                return f"A's {what} in another order, some with their sign turned."
        group = _int8_group(x, y, eps)
        if group:
            return f"B was stored as 8-bit integers, in groups of {group}."
    return None


def _same_set(a: Tensor, b: Tensor, axis: int, signs: bool = False) -> bool:
    """Whether the rows (axis 1) or columns (axis 0) are the same ones, whatever their order."""
    generator = torch.Generator().manual_seed(0)
    shape = (a.shape[1], 1) if axis == 1 else (1, a.shape[0])
    direction = torch.randn(shape, generator=generator, dtype=a.dtype)
    one, other = ((m @ direction if axis == 1 else direction @ m).flatten() for m in (a, b))
    if signs:
        one, other = one.abs(), other.abs()
    one, other = one.sort().values, other.sort().values
    return bool(torch.allclose(one, other, rtol=1e-9, atol=1e-9 * float(one.abs().max())))


def _int8_group(a: Tensor, b: Tensor, eps: float) -> int | None:
    """The size of the groups in which B is whole steps, 127 to its largest, and A rounds to it."""
    for size in (256, 128, 64, 32):
        if a.shape[1] % size:
            continue
        step = b.reshape(-1, size).abs().amax(1, keepdim=True) / 127
        steps = b.reshape(-1, size) / step.clamp_min(1e-300)
        whole = (steps - steps.round()).abs() <= 300 * eps
        near = (a - b).reshape(-1, size).abs() <= (0.51 + 300 * eps) * step
        if 300 * eps < 0.1 and bool(whole.all() and near.all()):
            return size
    return None
