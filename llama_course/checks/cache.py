"""Lesson 07, third part: a class that keeps the keys and values of what was read."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from llama_course.checks.exercise import EXACT, Case, Exercise, Hints, Mistake, apply, edit
from llama_course.checks.scripts import normal, spread_out

STARTER = '''
class Cache:
    """The keys and values of one layer, for all tokens that were read.

    `length` is an attribute: an int64 tensor (batch,), how many tokens each row holds.
    A length that was read stays as it was at later appends.
    Each object keeps tokens of its own.
    """

    def __init__(
        self,
        batch: int,
        kv_heads: int,
        max_len: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        """Start without tokens, with room for `max_len` of them in each row.

        Keys and values are kept in `dtype`, on `device`.
        """
        raise NotImplementedError

    def append(self, k: Tensor, v: Tensor, lengths: Tensor | None = None) -> None:
        """Store the keys and values of new tokens.

        k, v: (batch, kv_heads, seq, head_dim), of any float dtype.
        lengths: (batch,), int64, from 0 to seq; or None, which means seq for all rows.

        The first lengths[b] tokens of row b are real, and what comes after them is padding.
        The real tokens of a row are stored behind those that it holds, in their order.
        Padding is not stored, and leaves no trace.
        A row may be filled up to max_len.
        Where any row would hold more, it raises ValueError, and nothing is stored in any row.
        k, v and lengths are not changed, and copied: what the caller does to them later is no
        matter.
        """
        raise NotImplementedError

    def read(self) -> tuple[Tensor, Tensor]:
        """Return all keys, and all values.

        Each is (batch, kv_heads, longest, head_dim) in the cache's dtype; longest is the largest
        length. Token i of row b is at [b, :, i].
        Where a row is shorter than the longest one there are zeros.
        What was read is for use before the next append: it may be a view of what is kept.
        """
        raise NotImplementedError
'''

SOLUTION = """
class Cache:
    def __init__(
        self,
        batch: int,
        kv_heads: int,
        max_len: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        self.keys = torch.zeros(batch, kv_heads, max_len, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = torch.zeros(batch, dtype=torch.int64, device=device)

    def append(self, k: Tensor, v: Tensor, lengths: Tensor | None = None) -> None:
        new = torch.full_like(self.length, k.shape[2]) if lengths is None else lengths
        after = self.length + new
        if after.max() > self.keys.shape[2]:
            raise ValueError(f"{int(after.max())} tokens in a cache for {self.keys.shape[2]}")
        for row in range(k.shape[0]):
            start, count = int(self.length[row]), int(new[row])
            self.keys[row, :, start : start + count] = k[row, :, :count]
            self.values[row, :, start : start + count] = v[row, :, :count]
        self.length = after

    def read(self) -> tuple[Tensor, Tensor]:
        longest = int(self.length.max())
        return self.keys[:, :, :longest], self.values[:, :, :longest]
"""

LENGTH = "`length` is an attribute: an int64 tensor (batch,), how many tokens each row holds."
STAYS = "A length that was read stays as it was at later appends."
OWN = "Each object keeps tokens of its own."
DTYPE = "Keys and values are kept in `dtype`, on `device`."
BEHIND = "The real tokens of a row are stored behind those that it holds, in their order."
REAL = "The first lengths[b] tokens of row b are real, and what comes after them is padding."
PADDING = "Padding is not stored, and leaves no trace."
FULL = "A row may be filled up to max_len."
OVER = "Where any row would hold more, it raises ValueError, and nothing is stored in any row."
COPIED = (
    "k, v and lengths are not changed, and copied: what the caller does to them later is no matter."
)
SHAPE = (
    "Each is (batch, kv_heads, longest, head_dim) in the cache's dtype; longest is the largest "
    "length."
)
PLACE = "Token i of row b is at [b, :, i]."
ZEROS = "Where a row is shorter than the longest one there are zeros."

BF16 = torch.bfloat16
Steps = Iterator[tuple[str, Any]]
Script = Callable[[Any], Steps]


def read(cache: Any) -> Any:
    """`cache.read()`: a handle has a `read` of its own, so the answer's is asked for by name."""
    return cache.__getattr__("read")()


def tokens(*rows: list[float], scale: float = 1.0) -> Tensor:
    """Rows of tokens with one head of one number each: (batch, 1, seq, 1)."""
    return scale * torch.tensor(rows)[:, None, :, None]


def counts(*numbers: int) -> Tensor:
    """Real tokens, row by row."""
    return torch.tensor(numbers, dtype=torch.int64)


class Watcher:
    """Stands on the answer's side, where objects are themselves and not copies."""

    def __init__(self) -> None:
        self.length: Any = None

    def note(self, cache: Any) -> None:
        """Keep the cache's length, as a caller does who computes positions before an append."""
        self.length = cache.length

    def refused(self, cache: Any, k: Tensor, v: Tensor, lengths: Tensor | None = None) -> bool:
        """Whether an append raises ValueError."""
        try:
            cache.append(k, v) if lengths is None else cache.append(k, v, lengths)
        except ValueError:
            return True
        return False


def no_luck(script: Script) -> Script:
    """The script, with NaN in the memory that torch.empty gives: chance may have zeros there."""

    @functools.wraps(script)
    def played(answer: Any) -> Steps:
        before = torch.get_deterministic_debug_mode()
        torch.set_deterministic_debug_mode("warn")  # which fills new memory
        try:
            yield from script(answer)
        finally:
            torch.set_deterministic_debug_mode(before)

    return played


def shape_of_read(answer: Any) -> Steps:
    cache = answer.Cache(2, 3, 8, 4)
    for seq in (5, 1, 2):
        cache.append(normal(2, 3, seq, 4, seed=1), normal(2, 3, seq, 4, seed=2))
        keys, values = read(cache)
        yield f"the keys after {seq} more tokens", torch.zeros_like(keys)
        yield f"the values after {seq} more tokens", torch.zeros_like(values)


def type_of_length(answer: Any) -> Steps:
    cache = answer.Cache(2, 1, 4, 2)
    yield "length at the start", cache.length
    cache.append(normal(2, 1, 3, 2, seed=3), normal(2, 1, 3, 2, seed=4))
    yield "length after three tokens", cache.length


def by_hand(answer: Any) -> Steps:
    cache = answer.Cache(1, 1, 4, 1)
    cache.append(tokens([1.0, 2.0]), tokens([10.0, 20.0]))
    cache.append(tokens([3.0]), tokens([30.0]))
    keys, values = read(cache)
    yield "the keys after two tokens and one", keys.flatten()
    yield "the values after two tokens and one", values.flatten()


@no_luck
def rows_by_hand(answer: Any) -> Steps:
    cache = answer.Cache(2, 1, 4, 1)
    first, second = tokens([1.0, 2.0], [5.0, 9.0]), tokens([3.0, 9.0], [6.0, 7.0])
    cache.append(first, 10 * first, counts(2, 1))
    yield "the keys of both rows", read(cache)[0][:, 0, :, 0]
    cache.append(second, 10 * second, counts(1, 2))
    keys, values = read(cache)
    yield "the keys of both rows after the next append", keys[:, 0, :, 0]
    yield "their values", values[:, 0, :, 0]
    yield "length", cache.length


def everything(cache: Any) -> Steps:
    """What a cache holds."""
    keys, values = read(cache)
    yield "the keys", keys
    yield "the values", values
    yield "length", cache.length


def prompt_and_steps(answer: Any) -> Steps:
    cache = answer.Cache(2, 3, 12, 4)
    for step, seq in enumerate((5, 1, 1, 3)):
        cache.append(normal(2, 3, seq, 4, seed=10 + step), normal(2, 3, seq, 4, seed=20 + step))
        yield from everything(cache)


@no_luck
def unequal_rows(answer: Any) -> Steps:
    cache = answer.Cache(3, 2, 9, 4)
    for step, new in enumerate(((3, 1, 2), (1, 3, 0), (2, 2, 1), (0, 1, 2))):
        k, v = normal(3, 2, 3, 4, seed=30 + step), normal(3, 2, 3, 4, seed=40 + step)
        cache.append(k, v, counts(*new))
        yield from everything(cache)


def read_twice(answer: Any) -> Steps:
    cache = answer.Cache(1, 2, 4, 2)
    cache.append(normal(1, 2, 2, 2, seed=50), normal(1, 2, 2, 2, seed=51))
    yield from everything(cache)
    yield from everything(cache)
    cache.append(normal(1, 2, 1, 2, seed=52), normal(1, 2, 1, 2, seed=53))
    yield from everything(cache)


def two_objects(answer: Any) -> Steps:
    one, other = answer.Cache(1, 1, 3, 2), answer.Cache(1, 1, 3, 2)
    one.append(normal(1, 1, 2, 2, seed=54), normal(1, 1, 2, 2, seed=55))
    yield "length of the other", other.length
    other.append(normal(1, 1, 1, 2, seed=56), normal(1, 1, 1, 2, seed=57))
    yield from everything(one)
    yield from everything(other)


def earlier_length(answer: Any) -> Steps:
    watcher = answer.hold(Watcher())
    cache = answer.Cache(2, 1, 6, 2)
    for step, new in enumerate(((2, 1), (1, 2))):
        watcher.note(cache)
        k, v = normal(2, 1, 2, 2, seed=58 + step), normal(2, 1, 2, 2, seed=68 + step)
        cache.append(k, v, counts(*new))
        yield "the length that was read before the append", watcher.length
        yield "length after it", cache.length


@no_luck
def random_appends(answer: Any) -> Steps:
    cache = answer.Cache(4, 2, 40, 6)
    for step in range(6):
        size = 10.0 ** (2 * step - 6)  # from very small to very large numbers
        k, v = (normal(4, 2, 6, 6, seed=seed + step, scale=size) for seed in (70, 80))
        new = torch.randint(0, 7, (4,), generator=torch.Generator().manual_seed(step))
        cache.append(k, v, new)
    yield from everything(cache)


def narrow_cache(answer: Any) -> Steps:
    cache = answer.Cache(1, 2, 4, 3, dtype=BF16)
    cache.append(normal(1, 2, 2, 3, seed=90), normal(1, 2, 2, 3, seed=91))
    cache.append(normal(1, 2, 1, 3, seed=92, dtype=BF16), normal(1, 2, 1, 3, seed=93, dtype=BF16))
    keys, values = read(cache)
    yield "the keys", keys
    yield "the values", values


@no_luck
def narrow_tokens(answer: Any) -> Steps:
    cache = answer.Cache(2, 1, 4, 3)
    k, v = normal(2, 1, 2, 3, seed=94, dtype=BF16), normal(2, 1, 2, 3, seed=95, dtype=BF16)
    cache.append(k, v, counts(2, 1))
    cache.append(normal(2, 1, 1, 3, seed=96), normal(2, 1, 1, 3, seed=97))
    yield from everything(cache)


def nothing_read(answer: Any) -> Steps:
    cache = answer.Cache(2, 3, 5, 4, device="cpu")
    keys, values = read(cache)
    yield "the keys before the first append", keys
    yield "the values before the first append", values
    cache.append(normal(2, 3, 2, 4, seed=98), normal(2, 3, 2, 4, seed=99), counts(0, 0))
    yield from everything(cache)
    cache.append(normal(2, 3, 2, 4, seed=98), normal(2, 3, 2, 4, seed=99), lengths=None)
    yield from everything(cache)


@no_luck
def shorter_appends(answer: Any) -> Steps:
    """The longest row is another one after each append, and padding is no number to count with."""
    cache = answer.Cache(2, 1, 8, 1)
    for new in ((4, 1), (1, 1), (0, 4), (1, 4)):
        k = tokens(*([float(i + 1) if i < n else math.inf for i in range(4)] for n in new))
        cache.append(k, -k, counts(*new))
        yield from everything(cache)


def to_the_brim(answer: Any) -> Steps:
    cache = answer.Cache(1, 2, 3, 2)
    cache.append(normal(1, 2, 2, 2, seed=100), normal(1, 2, 2, 2, seed=101))
    cache.append(normal(1, 2, 1, 2, seed=102), normal(1, 2, 1, 2, seed=103))
    yield from everything(cache)


@no_luck
def brim_with_padding(answer: Any) -> Steps:
    """The tokens fit and the padding would not."""
    cache = answer.Cache(2, 1, 4, 2)
    cache.append(normal(2, 1, 3, 2, seed=104), normal(2, 1, 3, 2, seed=105), counts(3, 2))
    cache.append(normal(2, 1, 3, 2, seed=106), normal(2, 1, 3, 2, seed=107), counts(1, 2))
    yield from everything(cache)


def too_many(answer: Any) -> Steps:
    cache = answer.Cache(1, 1, 3, 2)
    cache.append(normal(1, 1, 2, 2, seed=108), normal(1, 1, 2, 2, seed=109))
    cache.append(normal(1, 1, 2, 2, seed=110), normal(1, 1, 2, 2, seed=111))
    yield from everything(cache)


@no_luck
def too_many_for_one(answer: Any) -> Steps:
    watcher = answer.hold(Watcher())
    cache = answer.Cache(3, 1, 4, 2)
    cache.append(normal(3, 1, 3, 2, seed=112), normal(3, 1, 3, 2, seed=113), counts(1, 3, 2))
    k, v = normal(3, 1, 2, 2, seed=114), normal(3, 1, 2, 2, seed=115)
    yield "ValueError for the second row", watcher.refused(cache, k, v)
    yield from everything(cache)
    longer = [torch.cat((x, x), dim=2) for x in (k, v)]
    yield "ValueError for the last row", watcher.refused(cache, *longer, counts(1, 1, 3))
    cache.append(k, v, counts(2, 1, 1))
    yield from everything(cache)


def prompt_too_long(answer: Any) -> Steps:
    watcher = answer.hold(Watcher())
    cache = answer.Cache(1, 1, 2, 2)
    k, v = normal(1, 1, 5, 2, seed=116), normal(1, 1, 5, 2, seed=117)
    yield "ValueError for five tokens in a cache for two", watcher.refused(cache, k, v)
    yield "length", cache.length
    cache.append(k, v, counts(2))
    yield from everything(cache)


def transposed(answer: Any) -> Steps:
    """As attention's projections come: (batch, seq, heads, head_dim), transposed."""
    cache = answer.Cache(2, 3, 6, 4)
    k, v = normal(2, 4, 3, 4, seed=118), normal(2, 4, 3, 4, seed=119)
    cache.append(k.transpose(1, 2), v.transpose(1, 2))
    cache.append(spread_out(k[:, :2].transpose(1, 2)), spread_out(v[:, :2].transpose(1, 2)))
    yield from everything(cache)


@no_luck
def inputs(answer: Any) -> Steps:
    cache = answer.Cache(2, 1, 6, 2)
    cache.append(normal(2, 1, 2, 2, seed=120), normal(2, 1, 2, 2, seed=121))
    cache.append(normal(2, 1, 2, 2, seed=122), normal(2, 1, 2, 2, seed=123), counts(1, 2))
    yield from everything(cache)


@no_luck
def later_changes(answer: Any) -> Steps:
    cache = answer.Cache(2, 1, 6, 2)
    k, v = answer.hold(normal(2, 1, 2, 2, seed=124)), answer.hold(normal(2, 1, 2, 2, seed=125))
    first = answer.hold(counts(2, 1))
    cache.append(k, v, first)
    k.fill_(7.0)
    v.fill_(8.0)
    first.zero_()
    yield from everything(cache)
    new = answer.hold(counts(1, 2))
    cache.append(k, v, new)
    k.zero_()
    v.zero_()
    new.zero_()
    yield from everything(cache)


CASES = (
    Case("read() gives two tensors (batch, kv_heads, longest, head_dim)", "shape", SHAPE,
         "the whole buffer, only the newest tokens, another layout, growth along a wrong axis",
         shape_of_read, tolerance=EXACT),
    Case("length is a tensor of whole numbers, one for each row", "shape", LENGTH,
         "a number, a list, a length that is not advanced", type_of_length, dtype=None,
         tolerance=EXACT),
    Case("By hand: tokens 1 and 2, then 3", "example", BEHIND,
         "a cache that is overwritten, keys in the values' place", by_hand, tolerance=EXACT,
         expect={"the keys after two tokens and one": torch.tensor([1.0, 2.0, 3.0]),
                 "the values after two tokens and one": torch.tensor([10.0, 20.0, 30.0])}),
    Case("By hand: rows of 2 and 1 tokens, then of 1 and 2 more", "example", REAL,
         "padding stored, one offset for all rows", rows_by_hand, tolerance=EXACT,
         expect={"the keys of both rows": torch.tensor([[1.0, 2.0], [5.0, 0.0]]),
                 "the keys of both rows after the next append":
                     torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]),
                 "their values": torch.tensor([[10.0, 20.0, 30.0], [50.0, 60.0, 70.0]]),
                 "length": torch.tensor([3, 3])}),
    Case("A prompt of five, then one, one and three more", "property", PLACE,
         "a cache that is overwritten, or holds the newest only", prompt_and_steps,
         tolerance=EXACT),
    Case("Three rows that grow at different speeds", "property", REAL,
         "rows mixed, padding stored", unequal_rows, tolerance=EXACT),
    Case("Reading changes nothing", "property", PLACE, "a read() that empties or moves", read_twice,
         tolerance=EXACT),
    Case("Two objects know nothing of each other", "property", OWN, "state kept on the class",
         two_objects, tolerance=EXACT),
    Case("A length that was read before an append stays as it was", "property", STAYS,
         "+= on the tensor that was handed out", earlier_length, dtype=None, tolerance=EXACT),
    Case("The reference's contents after six appends of chance lengths", "float32", BEHIND,
         "anything else", random_appends, tolerance=EXACT),
    Case("A bfloat16 cache stays bfloat16, whatever is appended", "low precision", DTYPE,
         "a buffer in the usual dtype, or in that of k", narrow_cache, dtype=BF16, tolerance=EXACT),
    Case("A float32 cache stays float32, also for bfloat16 tokens", "low precision", DTYPE,
         "a buffer that takes the dtype of what comes", narrow_tokens, tolerance=EXACT),
    Case("Before the first append, and after one without a real token", "edge", SHAPE,
         "zero tokens that are no special case", nothing_read, tolerance=EXACT),
    Case("The longest row is another after each append, and the padding is infinite", "edge", ZEROS,
         "padding that is stored and later overwritten, or multiplied by 0", shorter_appends,
         tolerance=EXACT),
    Case("A row may be filled to the last place", "edge", FULL, "a limit that is one too low",
         to_the_brim, tolerance=EXACT),
    Case("The last places are filled while padding would not fit", "edge", PADDING,
         "padding that is stored", brim_with_padding, tolerance=EXACT),
    Case("Four tokens in a cache for three", "edge", OVER,
         "tokens dropped silently, an index error of torch's own", too_many, tolerance=EXACT),
    Case("One row is full: nothing is stored in the others either, and it goes on afterwards",
         "edge", OVER, "an error that comes after half of the work", too_many_for_one,
         tolerance=EXACT),
    Case("A prompt that is longer than the cache", "edge", OVER, "a prompt cut off silently",
         prompt_too_long, tolerance=EXACT),
    Case("k and v transposed in memory, and with gaps", "edge", BEHIND,
         "view() where the layout does not allow it", transposed, tolerance=EXACT),
    Case("k, v and lengths are afterwards what they were", "inputs", COPIED, "work in place",
         inputs, tolerance=EXACT),
    Case("What the caller does to its tensors later changes nothing", "inputs", COPIED,
         "keeping k itself, or a view of it", later_changes, tolerance=EXACT),
)  # fmt: skip

KEYS_AT = "self.keys[row, :, start : start + count]"
VALUES_AT = "self.values[row, :, start : start + count]"
KEYS_SET = f"{KEYS_AT} = k[row, :, :count]"
VALUES_SET = f"{VALUES_AT} = v[row, :, :count]"
START = "start, count = int(self.length[row]), int(new[row])"
NEW = "new = torch.full_like(self.length, k.shape[2]) if lengths is None else lengths"
CHECK = """        if after.max() > self.keys.shape[2]:
            raise ValueError(f"{int(after.max())} tokens in a cache for {self.keys.shape[2]}")
"""
LOOP = f"""        for row in range(k.shape[0]):
            {START}
            {KEYS_SET}
            {VALUES_SET}
"""
AFTER = "        self.length = after\n"
LONGEST = "longest = int(self.length.max())"
READ = "return self.keys[:, :, :longest], self.values[:, :, :longest]"
BUFFER = "torch.zeros(batch, kv_heads, max_len, head_dim, dtype=dtype, device=device)"
VALUES = "self.values = torch.zeros_like(self.keys)"
ZERO = "self.length = torch.zeros(batch, dtype=torch.int64, device=device)"

SIGNATURE = (
    "def __init__(self, batch, kv_heads, max_len, head_dim, dtype=torch.float32, device='cpu'):"
)


def whole(*replacements: str) -> str:
    """The solution with an edit, as a text of its own, which is not tried in pairs."""
    return apply(edit(*replacements), SOLUTION)


ALL_ROOM = "self.length.max() + k.shape[2] > self.room"
REAL_ROOM = "(self.length + new).max() > self.room"


def grown(
    axis: int,
    keep: str = "",
    order: str = "self.{0}, {1}",
    real: bool = False,
    room: str = ALL_ROOM,
    cut: bool = False,
) -> str:
    """A cache that grows by torch.cat.

    `real`: lengths are counted as they should be; `room`: what is compared with max_len; `cut`:
    read() stops at the longest row.
    """
    new = "k.shape[2] if lengths is None else lengths" if real else "k.shape[2]"
    live = "[:, :, : int(self.length.max())]" if cut else ""
    first, second = order.format("keys", "k"), order.format("values", "v")
    return f"""
class Cache:
    {SIGNATURE}
        self.room, self.keys, self.values = max_len, None, None
        self.empty = torch.zeros(batch, kv_heads, 0, head_dim, dtype=dtype, device=device)
        self.length = torch.zeros(batch, dtype=torch.int64, device=device)

    def append(self, k, v, lengths=None):
        new = {new}
        if {room}:
            raise ValueError("full")
        k, v = k.to(self.empty.dtype){keep}, v.to(self.empty.dtype){keep}
        self.keys = k if self.keys is None else torch.cat([{first}], dim={axis})
        self.values = v if self.values is None else torch.cat([{second}], dim={axis})
        self.length = self.length + new

    def read(self):
        if self.keys is None:
            return self.empty, self.empty
        return self.keys{live}, self.values{live}
"""


JOINED = f"""
class Cache:
    {SIGNATURE}
        self.keys = torch.zeros(batch, kv_heads, 0, head_dim, dtype=dtype, device=device)
        self.values = self.keys
        self.length = torch.zeros(batch, dtype=torch.int64, device=device)

    def append(self, k, v, lengths=None):
        self.keys = torch.cat([self.keys, k.to(self.keys.dtype)], dim=2)
        self.values = torch.cat([self.values, v.to(self.keys.dtype)], dim=2)
        self.length = self.length + k.shape[2]

    def read(self):
        return self.keys, self.values
"""

JOINED_FROM_NONE = f"""
class Cache:
    {SIGNATURE}
        self.keys, self.values, self.made = None, None, dict(dtype=dtype)
        self.length = torch.zeros(batch, dtype=torch.int64, device=device)

    def joined(self, old, new):
        new = new.to(new.dtype)
        return new if old is None else torch.cat([old, new], dim=2)

    def append(self, k, v, lengths=None):
        self.keys, self.values = self.joined(self.keys, k), self.joined(self.values, v)
        self.length = self.length + k.shape[2]

    def read(self):
        return self.keys, self.values
"""

ZEROED = """        keep = (torch.arange(k.shape[2]) < new[:, None])[:, None, :, None]
        k, v = k * keep, v * keep
"""


KEPT_CHUNKS = f"""
class Cache:
    {SIGNATURE}
        self.size = (batch, kv_heads, max_len, head_dim)
        self.made = dict(dtype=dtype, device=device)
        self.chunks = []
        self.length = torch.zeros(batch, dtype=torch.int64, device=device)

    def append(self, k, v, lengths=None):
        new = torch.full_like(self.length, k.shape[2]) if lengths is None else lengths
        if (self.length + new).max() > self.size[2]:
            raise ValueError("full")
        self.chunks.append((k, v, new))
        self.length = self.length + new

    def read(self):
        keys, values = torch.zeros(self.size, **self.made), torch.zeros(self.size, **self.made)
        for row in range(self.size[0]):
            at = 0
            for k, v, new in self.chunks:
                n = int(new[row])
                keys[row, :, at : at + n] = k[row, :, :n]
                values[row, :, at : at + n] = v[row, :, :n]
                at += n
        longest = int(self.length.max())
        return keys[:, :, :longest], values[:, :, :longest]
"""

MISTAKES = (
    Mistake(
        "cache overwritten",
        "New tokens are always written at the beginning, over the old ones, while the length goes "
        "up: they belong behind the tokens that the row holds.",
        (edit(START, "start, count = 0, int(new[row])"),),
        "At which slot does a row of 5 tokens go on?",
    ),
    Mistake(
        "length not advanced",
        "The tokens are stored and not counted, so the next ones go to the same place and read() "
        "shows nothing.",
        (edit(AFTER, ""),),
        "What should length be after an append of three tokens?",
    ),
    Mistake(
        "newest tokens only",
        "Each append replaces what was there: the cache holds the last chunk and forgets the rest.",
        (edit("after = self.length + new", "after = self.length * 0 + new",
              LOOP, "        self.keys, self.values = torch.zeros_like(self.keys), "
              f"torch.zeros_like(self.values)\n{LOOP}", START, "start, count = 0, int(new[row])"),),
        "What should length be after two tokens and one?",
    ),
    Mistake(
        "whole buffer returned",
        "read() returns all max_len slots, most of them empty. Attention then works on every slot, "
        "and without a mask it looks at tokens that do not exist.",
        (edit(READ, "return self.keys, self.values"),),
        "How long is what read() returns when three tokens were stored in a cache for 100?",
    ),
    Mistake(
        "one offset for all rows",
        "All rows are written at the offset of the longest, or of the first. Rows of unequal "
        "length then get holes, or lose tokens.",
        (edit(START, "start, count = int(self.length.max()), int(new[row])"),
         edit(START, "start, count = int(self.length[0]), int(new[row])"),
         edit(START, "start, count = int(self.length.min()), int(new[row])")),
        "Rows of 4 and 1 tokens: to which slot does the next token of the second row go?",
    ),
    Mistake(
        "padding counted as tokens",
        "lengths is ignored: padding is stored, and each row gets longer by seq. The padding then "
        "stands between a row's tokens, and every later query looks at it.",
        (edit(NEW, "new = torch.full_like(self.length, k.shape[2])"),
         grown(2, keep=".clone()")),
        "How many tokens of row b are real? Where do you use it?",
    ),
    Mistake(
        "padding stored",
        "The length is right, but the padding is written into the slots behind it. There should be "
        "zeros until a token comes.",
        (edit(KEYS_SET, "room = self.keys.shape[2] - start\n"
              "            self.keys[row, :, start : start + k.shape[2]] = k[row, :, :room]",
              VALUES_SET, "self.values[row, :, start : start + k.shape[2]] = "
              "v[row, :, :room]"),
         edit(KEYS_SET, "self.keys[row, :, start : start + k.shape[2]] = k[row]",
              VALUES_SET, "self.values[row, :, start : start + k.shape[2]] = v[row]")),
        "Which part of k[row] is stored?",
    ),
    Mistake(
        "padding left between the tokens",
        "The length counts real tokens, but torch.cat joins whatever comes, padding too. The next "
        "token of a short row then stands behind padding, and not behind its own last one.",
        (grown(2, keep=".clone()", real=True), grown(2, keep=".clone()", real=True, cut=True),
         grown(2, keep=".clone()", real=True, room=REAL_ROOM),
         grown(2, keep=".clone()", real=True, room=REAL_ROOM, cut=True)),
        "torch.cat makes all rows longer by the same number. Which rows should that be?",
    ),
    Mistake(
        "padding multiplied by 0",
        "The padding is stored as 0 times itself. That is 0 for most numbers, but NaN for infinity "
        "and NaN, which attention over nothing may give; leave it out, or use torch.where.",
        (whole(LOOP, ZEROED + LOOP, KEYS_SET, "room = self.keys.shape[2] - start\n"
               "            self.keys[row, :, start : start + k.shape[2]] = k[row, :, :room]",
               VALUES_SET, "self.values[row, :, start : start + k.shape[2]] = v[row, :, :room]"),
         whole(LOOP, ZEROED + """        slots = torch.arange(self.keys.shape[2])
        put = self.length[:, None] + torch.arange(k.shape[2])
        put = ((put[:, :, None] == slots) & keep[:, 0]).float()
        self.keys += torch.einsum("bhsd,bsm->bhmd", k.float(), put).to(self.keys.dtype)
        self.values += torch.einsum("bhsd,bsm->bhmd", v.float(), put).to(self.keys.dtype)
""")),
        "What is 0 times infinity?",
    ),
    Mistake(
        "room that is not zeroed",
        "torch.empty takes memory as it finds it. Behind a short row there are then whatever "
        "numbers were left there: often zeros, so that it works by luck, and sometimes NaN.",
        (whole(BUFFER, BUFFER.replace("zeros", "empty"), VALUES, VALUES.replace("zeros", "empty")),
         whole(BUFFER, BUFFER.replace("zeros", "empty")),
         whole(VALUES, VALUES.replace("zeros", "empty"))),
        "torch.zeros costs hardly more.",
    ),
    Mistake(
        "joined without lengths and max_len",
        "What comes is joined to what is there by torch.cat, and that is all: append reads neither "
        "lengths nor max_len. Rows of one length get by with that until the room is full.",
        (JOINED, JOINED.replace(".to(self.keys.dtype)", ""), JOINED_FROM_NONE,
         JOINED_FROM_NONE.replace("new.dtype", "self.made['dtype']")),
        "Read the contract of append again: which of its sentences has no line in your code?",
    ),
    Mistake(
        "padding looked for on the left",
        "The last lengths[b] tokens of each row are stored; padding stands on the right, so the "
        "first ones are real.",
        (edit(KEYS_SET, f"{KEYS_AT} = k[row, :, k.shape[2] - count :]",
              VALUES_SET, f"{VALUES_AT} = v[row, :, v.shape[2] - count :]"),),
        "Of the tokens 1, 2, 9 with length 2, which are stored?",
    ),
    Mistake(
        "lengths taken for the totals",
        "lengths is read as how many tokens each row should hold in the end; it says how many "
        "come.",
        (edit(NEW, "new = torch.full_like(self.length, k.shape[2]) if lengths is None else "
              "lengths - self.length"),
         edit(NEW, "new = torch.full_like(self.length, k.shape[2]) if lengths is None else "
              "(lengths - self.length).clamp(min=0)")),
        "A row holds 2 tokens, and lengths says 1. How many does it hold afterwards?",
    ),
    Mistake(
        "grown along the heads",
        "torch.cat along axis 1 puts new tokens beside the old ones as if they were further heads. "
        "The tokens are axis 2.",
        (grown(1, keep=".clone()"),),
        "Count the axes of k from 0: batch, heads, tokens, components.",
    ),
    Mistake(
        "grown along the batch or the components",
        "torch.cat without an axis takes axis 0, so new tokens become further rows; along the last "
        "axis they become further components. The tokens are axis 2.",
        (grown(0, keep=".clone()"), grown(3, keep=".clone()")),
        "Count the axes of k from 0: batch, heads, tokens, components.",
    ),
    Mistake(
        "new tokens put in front",
        "torch.cat([k, old]) puts the newest tokens first. A mask that compares positions with "
        "slots then hides the wrong ones.",
        (grown(2, keep=".clone()", order="{1}, self.{0}"),),
        "Old ones first, then new ones.",
    ),
    Mistake(
        "keys and values exchanged",
        "What comes back first are the values; read() returns keys, then values.",
        (edit(READ, "return self.values[:, :, :longest], self.keys[:, :, :longest]"),
         edit(KEYS_SET, f"{KEYS_AT} = v[row, :, :count]",
              VALUES_SET, f"{VALUES_AT} = k[row, :, :count]")),
        "Append keys of 1 and values of 10, and read.",
    ),
    Mistake(
        "keys and values are one",
        "Keys and values come out as the same numbers: one of the two overwrote the other, as in "
        "self.keys = self.values = torch.zeros(...), or one was stored in both places.",
        (edit(VALUES, "self.values = self.keys"),
         edit(VALUES_SET, f"{VALUES_AT} = k[row, :, :count]"),
         edit(READ, "return self.keys[:, :, :longest], self.keys[:, :, :longest]")),
        "Are self.keys and self.values two tensors?",
    ),
    Mistake(
        "tokens dropped in silence",
        "What does not fit is dropped without a word, and the model goes on without its last "
        "tokens. An error here is cheap, a text that slowly goes wrong is not.",
        (edit(CHECK, "        new = torch.minimum(new, self.keys.shape[2] - self.length)\n"
              "        after = self.length + new\n"),
         edit(CHECK, "        if after.max() > self.keys.shape[2]:\n            return\n")),
        "What happens at append number max_len + 1?",
    ),
    Mistake(
        "oldest tokens overwritten",
        "The slot is taken modulo max_len, so a full row begins again at its first slot. That is a "
        "sliding window, another model; here a full cache says so.",
        (edit(CHECK, "", LOOP, """        for row in range(k.shape[0]):
            for i in range(int(new[row])):
                slot = (int(self.length[row]) + i) % self.keys.shape[2]
                self.keys[row, :, slot] = k[row, :, i]
                self.values[row, :, slot] = v[row, :, i]
""", LONGEST, "longest = min(int(self.length.max()), self.keys.shape[2])"),),
        "Where do you compare with max_len?",
    ),
    Mistake(
        "room not checked",
        "Nothing compares with max_len, so it is torch that complains, of shapes, and by then some "
        "rows may have been stored. Raise ValueError before anything is written.",
        (edit(CHECK, ""),
         edit(CHECK, "        assert after.max() <= self.keys.shape[2]\n"),
         edit("raise ValueError(f", "raise RuntimeError(f"),
         edit("raise ValueError(f", "raise IndexError(f"),
         edit("raise ValueError(f", "raise Exception(f")),
        "The error should be a ValueError, and come first.",
    ),
    Mistake(
        "half stored before it raises",
        "The error comes, but only after something was stored or counted: look at all rows before "
        "you write into the first.",
        (edit(CHECK, "        self.length = after\n" + CHECK,
              START, "start, count = int(after[row] - new[row]), int(new[row])"),
         edit(CHECK, "", START, START + "\n            if start + count > self.keys.shape[2]:\n"
              "                raise ValueError('full')",
              VALUES_SET, VALUES_SET + "\n            self.length = self.length.clone()\n"
              "            self.length[row] += count",
              AFTER, ""),
         edit(CHECK, "", START, START + "\n            if start + count > self.keys.shape[2]:\n"
              "                raise ValueError('full')")),
        "What does length say after the ValueError, and what does read() give?",
    ),
    Mistake(
        "last slot never used",
        "A row that would be exactly full is refused: max_len tokens fit, so the error comes for "
        "more than max_len.",
        (edit("after.max() > ", "after.max() >= "),),
        "May a cache for 3 hold 3 tokens?",
    ),
    Mistake(
        "room checked without the lengths",
        "The check counts padding too, so that real tokens are refused although they fit.",
        (edit("        if after.max() > ", "        if self.length.max() + k.shape[2] > "),),
        "Which tokens need room?",
    ),
    Mistake(
        "one length for all rows",
        "length is a single number, and each row needs its own. A batch of prompts of unequal "
        "length cannot be described by one number.",
        (edit(ZERO, "self.length = 0",
              NEW, "",
              "after = self.length + new", "after = self.length + k.shape[2]",
              "after.max() > ", "after > ", "int(after.max())", "after",
              START, "start, count = self.length, k.shape[2]",
              LONGEST, "longest = self.length"),
         edit(ZERO, "self.length = 0",
              NEW, "count = k.shape[2] if lengths is None else int(lengths.max())",
              "after = self.length + new", "after = self.length + count",
              "after.max() > ", "after > ", "int(after.max())", "after",
              START, "start = self.length",
              LONGEST, "longest = self.length")),
        "length is a tensor (batch,).",
    ),
    Mistake(
        "length is a list",
        "The numbers are right, but length is a Python list; positions are computed from it, so it "
        "has to be a tensor.",
        (edit(ZERO, "self.length = [0] * batch",
              NEW, "new = [k.shape[2]] * k.shape[0] if lengths is None else lengths.tolist()",
              "after = self.length + new", "after = [a + b for a, b in zip(self.length, new)]",
              "after.max() > ", "max(after) > ", "int(after.max())", "max(after)",
              LONGEST, "longest = max(self.length)"),),
        "torch.tensor([...]) makes a tensor of a list.",
    ),
    Mistake(
        "length counted in place",
        "The count is right, but += on a tensor also changes the length that somebody read before: "
        "the positions that are computed from it afterwards are too large.",
        (edit(AFTER, "        self.length += new\n"),
         edit(AFTER, "        self.length.copy_(after)\n")),
        "self.length = self.length + new makes a new tensor; self.length += new does not.",
    ),
    Mistake(
        "appends counted, not tokens",
        "length goes up by one with each append, however many tokens come.",
        (edit("after = self.length + new", "after = self.length + 1",
              START, "start, count = int(self.length[row]), int(new[row])\n"
              "            count = min(count, self.keys.shape[2] - start)"),
         edit("        self.length = after", "        self.length = self.length + 1")),
        "A prompt of five tokens comes in one append.",
    ),
    Mistake(
        "cut to one row's length",
        "read() stops at the end of the shortest row, or of the first: the others lose their last "
        "tokens.",
        (edit(LONGEST, "longest = int(self.length.min())"),
         edit(LONGEST, "longest = int(self.length[0])")),
        "The rows hold 4 and 1 tokens. How long is what read() returns?",
    ),
    Mistake(
        "dtype ignored",
        "Keys and values are kept in float32 whatever the cache was asked for: a bfloat16 cache "
        "then takes twice the memory.",
        (edit("dtype=dtype, device=device)\n        self.values",
              "device=device)\n        self.values"),),
        "torch.zeros takes dtype=.",
    ),
    Mistake(
        "keeps the caller's tensor",
        "What is kept is k or lengths itself, or a view of it. When the caller reuses its memory, "
        "the past changes.",
        (KEPT_CHUNKS, KEPT_CHUNKS.replace("(k, v, new)", "(k, v, new.clone())"),
         whole(AFTER, "        self.length = after if self.length.any() else new\n")),
        "clone() makes a copy; slicing, transpose and detach do not.",
    ),
    Mistake(
        "state on the class",
        "The tensors belong to the class, so all layers share one cache; what belongs to one "
        "object is set on self, in __init__.",
        (edit(f"self.keys = {BUFFER}", f"Cache.keys = {BUFFER}",
              VALUES, "Cache.values = torch.zeros_like(self.keys)",
              ZERO, ZERO.replace("self.", "Cache."),
              AFTER, AFTER.replace("self.", "Cache.")),
         edit(f"self.keys = {BUFFER}", f"Cache.keys = {BUFFER}",
              VALUES, "Cache.values = torch.zeros_like(self.keys)")),
        "Make two objects and append to only one of them.",
    ),
    Mistake(
        "heads and tokens exchanged",
        "read() gives (batch, longest, kv_heads, head_dim). Attention takes the heads first, as "
        "they came.",
        (edit(READ, "return (self.keys[:, :, :longest].transpose(1, 2), "
              "self.values[:, :, :longest].transpose(1, 2))"),),
        "Which axis of k are the heads, and which axis of what read() returns?",
    ),
    Mistake(
        "nothing to read yet",
        "Before the first append read() fails or gives None. A cache without tokens has tensors "
        "with 0 in the place of longest.",
        (edit("    def read(self) -> tuple[Tensor, Tensor]:\n",
              "    def read(self) -> tuple[Tensor, Tensor]:\n        if not self.length.any():\n"
              "            return None, None\n"),
         edit("    def read(self) -> tuple[Tensor, Tensor]:\n",
              "    def read(self) -> tuple[Tensor, Tensor]:\n        if not self.length.any():\n"
              "            return None\n")),
        "torch.zeros(2, 3, 0, 4) is a good tensor.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="cache",
    lesson="07",
    title="The KV cache",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="Three things are worth remembering between calls: the keys, the values, and how "
        "many tokens each row holds. Which of them tells where the next token goes?",
        outline="In __init__ make two tensors of zeros (batch, kv_heads, max_len, head_dim) and "
        "length, zeros of int64. In append compute the new lengths first, and raise if one is too "
        "large. Then copy, row by row: the real tokens of row b go to the slots from length[b] "
        "on. Last, make the new lengths yours. read() slices both tensors at the largest length.",
    ),
    difficulty="medium",
    importance="Every step of generation reads it; in lesson 09 your model has one for each layer.",
    minutes=18,
    setup="import torch\nfrom torch import Tensor",
)
