"""Lesson 07's third exercise, a class: what passes, what fails, and what each failure is called."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from llama_course.checks.cache import (
    AFTER,
    BUFFER,
    CHECK,
    EXERCISE,
    KEPT_CHUNKS,
    KEYS_SET,
    LONGEST,
    LOOP,
    NEW,
    READ,
    SIGNATURE,
    START,
    VALUES,
    VALUES_SET,
    ZERO,
)
from llama_course.checks.engine.judge import PASS, judge
from llama_course.checks.exercise import edit
from llama_course.checks.testing import ExerciseTests
from llama_course.model import plain_cache

# A list of (key, value) pairs for each row, put together when somebody reads.
LISTS = f"""
class Cache:
    {SIGNATURE}
        self.sizes, self.dtype, self.device = (kv_heads, head_dim), dtype, device
        self.max_len = max_len
        self.rows = [[] for _ in range(batch)]

    @property
    def length(self):
        return torch.tensor([len(row) for row in self.rows], device=self.device)

    def append(self, k, v, lengths=None):
        counts = [k.size(2)] * k.size(0) if lengths is None else lengths.tolist()
        if any(len(row) + n > self.max_len for row, n in zip(self.rows, counts)):
            raise ValueError("full")
        for b, n in enumerate(counts):
            for i in range(n):
                self.rows[b].append((k[b, :, i].clone(), v[b, :, i].clone()))

    def read(self):
        h, d = self.sizes
        longest = max(len(row) for row in self.rows)
        out = torch.zeros(2, len(self.rows), h, longest, d, dtype=self.dtype, device=self.device)
        for b, row in enumerate(self.rows):
            for i, pair in enumerate(row):
                out[0, b, :, i], out[1, b, :, i] = pair
        return out[0], out[1]
"""

# One tensor for both, tokens before heads, written by an index without a loop over rows.
INDEXED = f"""
class Cache:
    {SIGNATURE}
        self.store = torch.zeros(2, batch, max_len, kv_heads, head_dim, dtype=dtype, device=device)
        self.length = torch.zeros(batch, dtype=torch.long, device=device)

    def append(self, k, v, lengths=None):
        steps = torch.arange(k.shape[2], device=k.device)
        if lengths is None:
            lengths = torch.full_like(self.length, k.shape[2])
        if bool((self.length + lengths > self.store.shape[2]).any()):
            raise ValueError("no room")
        rows, columns = (steps < lengths[:, None]).nonzero(as_tuple=True)
        slots = self.length[rows] + columns
        for which, new in enumerate((k, v)):
            new = new.transpose(1, 2).to(self.store.dtype)
            self.store[which, rows, slots] = new[rows, columns]
        self.length = self.length + lengths

    def read(self):
        live = self.store[:, :, : int(self.length.max())].transpose(2, 3)
        return live[0], live[1]
"""

# Grows by torch.cat where rows are equally long, and pads each row otherwise.
GROWN_BY_ROW = f"""
def longer(old, new):
    return torch.cat([old, new.to(old.dtype)], dim=1)

class Cache:
    {SIGNATURE}
        empty = torch.zeros(kv_heads, 0, head_dim, dtype=dtype, device=device)
        self.k, self.v, self.most = [empty] * batch, [empty] * batch, max_len
        self.length = torch.zeros(batch, dtype=torch.int64)

    def append(self, keys, values, lengths=None):
        lengths = torch.full((len(keys),), keys.shape[2]) if lengths is None else lengths.clone()
        if int((self.length + lengths).max()) > self.most:
            class TooLong(ValueError):
                pass
            raise TooLong
        for b, n in enumerate(lengths.tolist()):
            self.k[b] = longer(self.k[b], keys[b, :, :n])
            self.v[b] = longer(self.v[b], values[b, :, :n])
        self.length = torch.tensor([k.shape[1] for k in self.k])

    def read(self):
        n = max(k.shape[1] for k in self.k)
        pad = torch.nn.functional.pad
        return tuple(
            torch.stack([pad(x, (0, 0, 0, n - x.shape[1])) for x in rows])
            for rows in (self.k, self.v)
        )
"""

# Padding is written, and zeroed before anyone sees it.
CLEANED = f"""
class Cache:
    {SIGNATURE}
        room = (batch, kv_heads, max_len, head_dim)
        self.kv = [torch.zeros(room, dtype=dtype, device=device) for _ in "kv"]
        self._n = [0] * batch

    @property
    def length(self):
        return torch.tensor(self._n)

    def append(self, k, v, lengths=None):
        n = [k.shape[2]] * len(self._n) if lengths is None else [int(x) for x in lengths]
        after = [a + b for a, b in zip(self._n, n)]
        if max(after) > self.kv[0].shape[2]:
            raise ValueError
        for b in range(len(n)):
            for store, new in zip(self.kv, (k, v)):
                space = store[b, :, self._n[b] :]
                fit = min(space.shape[1], new.shape[2])
                space[:, :fit] = new[b, :, :fit]
                store[b, :, after[b] :] = 0
        self._n = after

    def read(self):
        return [x[:, :, : max(self._n)].clone() for x in self.kv]
"""

LIVE = READ.removeprefix("return ")

HERE = "everything is on the processor here"

# Why only one of two mistakes shows.
NEVER = "what is never counted is never read"
LENGTHS = "where lengths is not read, nothing of a row shows that depends on it"
SHORT = "what lies behind the row that read() stops at is not seen"


class TestCache(ExerciseTests):
    exercise = EXERCISE
    right = (
        LISTS,
        INDEXED,
        GROWN_BY_ROW,
        CLEANED,
        KEPT_CHUNKS.replace("(k, v, new)", "(k.clone(), v.clone(), new.clone())"),
        edit(KEYS_SET, f"{KEYS_SET}.detach()", VALUES_SET, f"{VALUES_SET}.detach()"),
        edit(KEYS_SET, KEYS_SET.replace("] = ", "] += ")),  # onto zeros
        edit(READ, f"return torch.stack({LIVE.replace('self', '(self', 1)}))"),  # unpacks to two
    )
    wrong = (
        edit(START, "start, count = int(self.length[row]) + 1, int(new[row])"),
        edit(START, "start, count = int(self.length[row]), max(int(new[row]), 1)"),
        edit(START, "start, count = int(self.length[row]), int(new[0])"),
        edit(START, "start, count = int(self.length[-1]), int(new[row])"),
        edit(START, "start, count = self.keys.shape[2] - int(after[row]), int(new[row])"),
        edit(KEYS_SET, KEYS_SET.replace("k[row", "k[0")),
        edit(KEYS_SET, KEYS_SET.replace("row, :, :count", "row, :1, :count")),
        edit(KEYS_SET, f"{KEYS_SET}.flip(1)"),
        edit(KEYS_SET, KEYS_SET + " * 1.0001"),
        edit(KEYS_SET, KEYS_SET + ".half()"),
        edit(KEYS_SET, KEYS_SET.replace("row, :, start", "-row, :, start")),
        edit(VALUES_SET, "pass"),
        edit(VALUES_SET, f"{VALUES_SET}.abs()"),
        edit(VALUES_SET, f"{VALUES_SET}.clamp(-100, 100)"),
        edit(LOOP, ""),
        edit(LOOP, LOOP.replace("k.shape[0]", "1")),
        edit(LOOP, LOOP + "        k.zero_()\n"),
        edit(LOOP, LOOP.replace("k.shape[0]", "k.shape[0] - 1")),
        edit(AFTER, "        self.length = after.int()\n"),
        edit(AFTER, "        self.length = after.float()\n"),
        edit(AFTER, "        self.length = after[:, None]\n"),
        edit(AFTER, "        self.length = after.max().expand(len(after))\n"),
        edit(AFTER, "        self.length = after.min().expand(len(after))\n"),
        edit(AFTER, "        self.length = after.clamp(max=8)\n"),
        edit(AFTER, "        self.length = new\n"),
        edit(NEW, NEW.replace("k.shape[2]", "1")),
        edit(NEW, NEW.replace("else lengths", "else lengths.clamp(min=1)")),
        edit(NEW, NEW.replace("else lengths", "else lengths.flip(0)")),
        edit(NEW, NEW.replace("is None", "is not None")),
        edit(CHECK, CHECK.replace("self.keys.shape[2]:", "self.keys.shape[2] + 1:")),
        edit(CHECK, CHECK.replace("after.max()", "after.min()", 1)),
        edit(CHECK, CHECK.replace("after.max()", "after[0]", 1)),
        edit(CHECK, CHECK.replace("after.max()", "after.sum()", 1)),
        edit(LONGEST, "longest = int(self.length.max()) + 1"),
        edit(LONGEST, "longest = max(int(self.length.max()), 1)"),
        edit(LONGEST, "longest = int(self.length.max()) - 1"),
        edit(LONGEST, "longest = int(self.length.sum())"),
        edit(READ, "return self.keys[:, :, :longest]"),
        edit(READ, "return self.keys[:, :, -longest:], self.values[:, :, -longest:]"),
        edit(READ, "return self.keys[:, :longest], self.values[:, :longest]"),
        edit(READ, f"keys, values = {LIVE}\n        return keys.numpy(), values.numpy()"),
        edit(READ, f"keys, values = {LIVE}\n        return keys.tolist(), values.tolist()"),
        edit(READ, f"keys, values = {LIVE}\n        return keys.squeeze(), values.squeeze()"),
        edit(READ, f"keys, values = {LIVE}\n        return keys.float(), values.float()"),
        edit(READ, "return {'k': self.keys[:, :, :longest], 'v': self.values[:, :, :longest]}"),
        edit(READ, f"kept = {LIVE}\n        self.length = self.length * 0\n        return kept"),
        edit(BUFFER, "torch.ones(batch, kv_heads, max_len, head_dim, dtype=dtype, device=device)"),
        edit(BUFFER, "torch.full((batch, kv_heads, max_len, head_dim), -1.0, dtype=dtype)"),
        edit(BUFFER, "torch.zeros(batch, kv_heads, max_len + 1, head_dim, dtype=dtype)"),
        edit(BUFFER, "torch.zeros(batch, kv_heads, max_len, head_dim, dtype=torch.bfloat16)"),
        edit(BUFFER, "torch.zeros(batch, kv_heads, max_len, head_dim, dtype=torch.float64)"),
        edit(BUFFER, "torch.zeros(1, kv_heads, max_len, head_dim, dtype=dtype)"),
        edit(VALUES, "self.values = torch.zeros_like(self.keys, dtype=torch.float32)"),
        edit(ZERO, "self.length = torch.ones(batch, dtype=torch.int64, device=device)"),
        edit(ZERO, "self.length = torch.zeros(batch, dtype=torch.int32, device=device)"),
        edit(ZERO, "self.length = torch.zeros(batch, device=device)"),
    )  # fmt: skip
    equivalent: ClassVar[dict[str, str]] = {
        f"{BUFFER} -> {BUFFER.replace(', device=device', '')}": HERE,
        "torch.zeros(batch, dtype=torch.int64, device=device) -> "
        "torch.zeros(batch, dtype=torch.int64)": HERE,
        **dict.fromkeys(("2 -> -2", "2 -> -2 #2", "2 -> -2 #3"), "of four axes, both are the same"),
        **dict.fromkeys(
            (
                "int(after.max()) -> after.max()",
                "after.max() -> after #2",
                "2 -> 1 #3",
                "2 -> 3 #3",
            ),
            "the words of the error are free",
        ),
        **dict.fromkeys(
            (
                "int(self.length[row]) -> self.length[row]",
                "int(new[row]) -> new[row]",
                "int(self.length.max()) -> self.length.max()",
            ),
            "a slice takes a tensor of one whole number too",
        ),
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {
        ("cache overwritten", "length not advanced"): NEVER,
        **{
            ("length not advanced", other): NEVER
            for other in (
                "one offset for all rows",
                "padding stored",
                "padding looked for on the left",
                "lengths taken for the totals",
                "keys and values exchanged",
                "keys and values are one",
                "cut to one row's length",
                "state on the class",
            )
        },
        ("length not advanced", "half stored before it raises"): (
            "the length is advanced, once instead of twice, and before the check"
        ),
        ("whole buffer returned", "cut to one row's length"): "the length is not used to cut",
        ("one offset for all rows", "padding counted as tokens"): LENGTHS,
        ("one offset for all rows", "appends counted, not tokens"): (
            "appends come to all rows alike, so all rows have one offset"
        ),
        ("padding counted as tokens", "padding stored"): LENGTHS,
        ("padding counted as tokens", "padding looked for on the left"): LENGTHS,
        ("padding counted as tokens", "room checked without the lengths"): LENGTHS,
        ("padding counted as tokens", "cut to one row's length"): LENGTHS,
        ("padding stored", "one length for all rows"): LENGTHS,
        ("padding looked for on the left", "one length for all rows"): LENGTHS,
        ("padding stored", "cut to one row's length"): SHORT,
        ("keys and values exchanged", "keys and values are one"): "one tensor, in either order",
        ("tokens dropped in silence", "appends counted, not tokens"): (
            "what is clipped a second time was clipped already"
        ),
        ("room not checked", "appends counted, not tokens"): (
            "the count of appends stays below the room in all these scenarios"
        ),
        ("appends counted, not tokens", "cut to one row's length"): (
            "appends come to all rows alike, so all rows have one length"
        ),
    }

    def test_the_library_s_plain_cache_keeps_the_same_contract(self) -> None:
        exercise = dataclasses.replace(EXERCISE, may_use=("llama_course",))
        (verdict,) = judge(exercise, {"Cache": plain_cache.Cache}, {}).values()
        assert verdict.state == PASS, verdict.message
