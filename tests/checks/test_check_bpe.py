"""Lesson 01's first exercise: four functions that call one another, and their mistakes."""

from __future__ import annotations

import ast
from types import SimpleNamespace
from typing import ClassVar

from llama_course.checks import bpe
from llama_course.checks.bpe import EXERCISE, encode, merge, pairs, train
from llama_course.checks.bpe.text import Words
from llama_course.checks.engine.judge import BORROWED, PASS, WRONG, Verdict, judge_part
from llama_course.checks.exercise import definitions, edit
from llama_course.checks.testing import ENOUGH, ExerciseTests, combined, judged, names
from llama_course.tokenizers import bpe_steps


def counts(*lines: str) -> str:
    """A pair_counts in a few lines."""
    return pairs.whole(*lines)


def merges(*lines: str) -> str:
    """A merge_pair in a few lines."""
    return merge.whole(*lines)


def encodes(*lines: str) -> str:
    """A bpe_encode in a few lines."""
    return encode.whole(*lines)


def trains(*lines: str) -> str:
    """A train_bpe in a few lines."""
    return "\n".join(["def train_bpe(words, n_merges):", *(f"    {line}" for line in lines)])


def alone(text: str) -> Verdict:
    """The verdict on the one part of a source text that is not the solution's."""
    right = {name: ast.dump(node) for name, node in definitions(EXERCISE.solution).items()}
    found = definitions(text)
    (part,) = (name for name in right if ast.dump(found[name]) != right[name])
    return judge_part(EXERCISE, part, EXERCISE.load(text, module="answer")[part])


NOT_SHORTER = "this form sees by the row's length that it has merged, and the row does not shorten"


class TestBpe(ExerciseTests):
    exercise = EXERCISE
    right = (
        # Counter and zip; slices; a sorted list; the leftmost pair of the lowest rank, one by one
        "from collections import Counter\n\n\n"
        "def pair_counts(words):\n"
        "    counts = Counter()\n"
        "    for word, n in words.items():\n"
        "        for pair in zip(word, word[1:]):\n"
        "            counts[pair] += n\n"
        "    return counts\n\n\n"
        + merges(
            "out = list(ids)",
            "i = 0",
            "while i < len(out) - 1:",
            "    if tuple(out[i : i + 2]) == pair:",
            "        out[i : i + 2] = [new_id]",
            "    i += 1",
            "return tuple(out)",
        )
        + "\n\n\n"
        + trains(
            "words = dict(words)",
            "text = [bytes([i]) for i in range(256)]",
            "found = []",
            "while len(found) < n_merges:",
            "    counts = pair_counts(words)",
            "    if len(counts) == 0:",
            "        return found",
            "    key = lambda p: (counts[p], text[p[0]], text[p[1]])",
            "    pair = sorted(counts, key=key)[-1]",
            "    found.append(pair)",
            "    text.append(text[pair[0]] + text[pair[1]])",
            "    for word in list(words):",
            "        if pair in zip(word, word[1:]):",
            "            words[merge_pair(word, pair, 255 + len(found))] = words.pop(word)",
            "return found",
        )
        + "\n\n\n"
        + encodes(
            "row = list(ids)",
            "while True:",
            "    best = None",
            "    for i in range(len(row) - 1):",
            "        rank = ranks.get((row[i], row[i + 1]))",
            "        if rank is not None and (best is None or rank < best[0]):",
            "            best = rank, i",
            "    if best is None:",
            "        return row",
            "    row[best[1] : best[1] + 2] = [256 + best[0]]",
        ),
        # comprehensions; an iterator; all merges in their order, one pass for each
        "from collections import defaultdict\nfrom itertools import pairwise\n\n\n"
        "def pair_counts(words):\n"
        "    found = defaultdict(int)\n"
        "    for pair, n in ((p, n) for w, n in words.items() for p in pairwise(w)):\n"
        "        found[pair] += n\n"
        "    return dict(found)\n\n\n"
        + merges(
            "out, held = [], None",
            "for i in ids:",
            "    if held is not None and (held, i) == pair:",
            "        out.append(new_id)",
            "        held = None",
            "    else:",
            "        out += [] if held is None else [held]",
            "        held = i",
            "return tuple(out) if held is None else (*out, held)",
        )
        + "\n\n\n"
        + encodes(
            "for pair in sorted(ranks, key=lambda p: ranks[p]):",
            "    ids = merge_pair(ids, pair, ranks[pair] + 256)",
            "return tuple(ids)",
        ),
        # recursion; byte strings in place of ids inside; counting by hand
        merges(
            "if len(ids) < 2:",
            "    return tuple(ids)",
            "if (ids[0], ids[1]) == pair:",
            "    return (new_id,) + merge_pair(ids[2:], pair, new_id)",
            "return (ids[0],) + merge_pair(ids[1:], pair, new_id)",
        )
        + "\n\n\n"
        + trains(
            "parts = [([bytes([i]) for i in word], n) for word, n in words.items()]",
            "name, done = {bytes([i]): i for i in range(256)}, []",
            "for step in range(n_merges):",
            "    counts = {}",
            "    for row, n in parts:",
            "        for a, b in zip(row, row[1:]):",
            "            counts[a, b] = counts.get((a, b), 0) + n",
            "    if not counts:",
            "        break",
            "    n, (a, b) = max((n, pair) for pair, n in counts.items())",
            "    done.append((name[a], name[b]))",
            "    for row, _ in parts:",
            "        i = 0",
            "        while i < len(row) - 1:",
            "            if row[i] == a and row[i + 1] == b:",
            "                row[i : i + 2] = [a + b]",
            "            i += 1",
            "    name[a + b] = 256 + step",
            "return done",
        )
        + "\n\n\n"
        + encodes(
            "best = min((ranks[p], p) for p in zip(ids, ids[1:]) if p in ranks) "
            "if any(p in ranks for p in zip(ids, ids[1:])) else None",
            "if best is None:",
            "    return ids",
            "return bpe_encode(merge_pair(ids, best[1], 256 + best[0]), ranks)",
        ),
        # strings of Latin-1, which compare as bytes do; slices made tuples; ranks of neighbours
        merges(
            "row, i = tuple(ids), 0",
            "while i < len(row):",
            "    if row[i : i + 2] == tuple(pair):",
            "        row = row[:i] + (new_id,) + row[i + 2 :]",
            "    i += 1",
            "return row",
        )
        + "\n\n\n"
        + trains(
            "text, out = {i: chr(i) for i in range(256)}, []",
            "for new in range(256, 256 + n_merges):",
            "    counts = pair_counts(words)",
            "    best = None",
            "    for (a, b), n in counts.items():",
            "        mine = (n, text[a], text[b], (a, b))",
            "        best = mine if best is None or mine[:3] > best[:3] else best",
            "    if best is None:",
            "        break",
            "    pair = best[-1]",
            "    text[new] = text[pair[0]] + text[pair[1]]",
            "    words = {merge_pair(w, pair, new): n for w, n in words.items() if len(w) > 1}",
            "    out.append(pair)",
            "return out",
        )
        + "\n\n\n"
        + encodes(
            "row = list(ids)",
            "while len(row) > 1:",
            "    found = [ranks.get(p, len(ranks)) for p in zip(row, row[1:])]",
            "    rank = min(found)",
            "    if rank == len(ranks):",
            "        break",
            "    at = found.index(rank)",
            "    row = row[:at] + [256 + rank] + row[at + 2 :]",
            "return row",
        ),
        # counts kept up to date; only words that hold the pair are touched; a heap for encoding
        "import heapq\n\n\n"
        + trains(
            "rows, times = [list(w) for w in words], list(words.values())",
            "text = {i: bytes([i]) for i in range(256)}",
            "counts, places = {}, {}",
            "for at, row in enumerate(rows):",
            "    for p in zip(row, row[1:]):",
            "        counts[p] = counts.get(p, 0) + times[at]",
            "        places.setdefault(p, set()).add(at)",
            "out = []",
            "while counts and len(out) < n_merges:",
            "    best = max(counts, key=lambda p: (counts[p], text[p[0]], text[p[1]]))",
            "    new = 256 + len(out)",
            "    text[new] = text[best[0]] + text[best[1]]",
            "    out.append(best)",
            "    for at in sorted(places[best]):",
            "        row = rows[at]",
            "        for p in zip(row, row[1:]):",
            "            counts[p] -= times[at]",
            "            if not counts[p]:",
            "                del counts[p]",
            "        rows[at] = row = list(merge_pair(row, best, new))",
            "        for p in zip(row, row[1:]):",
            "            counts[p] = counts.get(p, 0) + times[at]",
            "            places.setdefault(p, set()).add(at)",
            "return out",
        )
        + "\n\n\n"
        + encodes(
            "row = dict(enumerate(ids))",
            "after = {i: i + 1 for i in range(len(row))}",
            "before = {i: i - 1 for i in range(len(row) + 1)}",
            "heap = []",
            "def offer(i):",
            "    j = after.get(i)",
            "    if i in row and j in row and (row[i], row[j]) in ranks:",
            "        heapq.heappush(heap, (ranks[row[i], row[j]], i, row[i], row[j]))",
            "for i in range(len(row)):",
            "    offer(i)",
            "while heap:",
            "    rank, i, a, b = heapq.heappop(heap)",
            "    j = after.get(i)",
            "    if row.get(i) != a or row.get(j) != b:",
            "        continue",
            "    row[i] = 256 + rank",
            "    del row[j]",
            "    after[i] = after[j]",
            "    before[after[j]] = i",
            "    offer(before[i])",
            "    offer(i)",
            "return tuple(row[i] for i in sorted(row))",
        ),
    )
    wrong = (
        # pair_counts
        edit(pairs.ADD, "counts[pair] = counts.get(pair, 0) + times * len(word)"),
        edit(pairs.ADD, "counts[pair] = counts.get(pair, 1) + times"),
        edit(pairs.ADD, "counts[pair] = counts.get(pair, 0) * times"),
        edit(pairs.ADD, "counts[pair] = max(counts.get(pair, 0), times)"),
        edit(pairs.ADD, "counts[pair] = float(counts.get(pair, 0) + times)"),
        edit(pairs.ADD, "counts[pair] = counts.get(pair, 0) + times * (i + 1)"),
        edit(pairs.PAIR, "pair = (word[i], word[i])"),
        edit(pairs.PAIR, "pair = [word[i], word[i + 1]]"),
        edit(pairs.PAIR, "pair = f'{word[i]} {word[i + 1]}'"),
        edit(pairs.PAIR, "pair = bytes(word[i : i + 2])"),
        edit(pairs.PAIR, "pair = word[i : i + 3]"),
        edit(pairs.PAIR, "pair = word[i]"),
        edit(pairs.LOOP, "for i in range(len(word) - 2):", pairs.PAIR,
             "pair = (word[i], word[i + 2])"),
        counts("return {p: n for w, n in words.items() for p in zip(w, w[1:])} or None"),
        counts("return [(p, n) for w, n in words.items() for p in zip(w, w[1:])]"),
        counts("return len(words)"),
        edit(pairs.ADD, "counts[pair] = counts.get(pair, 0) + times if i else times"),
        edit(pairs.ADD, "counts[pair] = counts.get(pair, 0) + times ** 2"),
        edit(pairs.PAIR, "pair = (word[i] % 256, word[i + 1] % 256)"),
        edit(pairs.PAIR, "pair = word[i] + word[i + 1]"),
        counts("return {}"),
        edit(pairs.ADD, "counts[pair] = counts.get(pair, 0) + len(word)"),
        edit(pairs.ADD, "counts[pair] = counts.get(pair, 0) + min(times, 9)"),
        edit(pairs.ADD, "counts[str(pair)] = counts.get(str(pair), 0) + times"),
        edit(pairs.PAIR, "pair = (i, i + 1)"),
        edit(pairs.PAIR, "pair = (chr(word[i]), chr(word[i + 1]))"),
        # merge_pair
        edit(merge.TEST, "if i + 1 < len(ids) and ids[i] + ids[i + 1] == sum(pair):"),
        edit(merge.TEST, "if ids[i] in pair:"),
        edit(merge.TEST, "if i + 1 < len(ids) and (ids[i], ids[i + 1]) != pair:"),
        edit("merged.append(new_id)", "merged.append(pair)"),
        edit("merged.append(new_id)", "merged.insert(0, new_id)"),
        edit("merged.append(new_id)", "pass"),
        edit("merged.append(ids[i])", "merged.append(ids[i] % 256)"),
        edit("merged.append(ids[i])", "pass"),
        edit("return tuple(merged)", "return tuple(reversed(merged))"),
        edit("return tuple(merged)", "return tuple(dict.fromkeys(merged))"),
        edit("return tuple(merged)", "return bytes(merged)"),
        edit("return tuple(merged)", "return tuple(merged), i"),
        merges("return tuple(ids)"),
        edit("merged.append(new_id)", "merged.append(sum(pair))"),
        edit("merged.append(new_id)", "merged.extend((new_id, new_id))"),
        edit("return tuple(merged)", "return tuple(merged[:-1])"),
        edit("return tuple(merged)", "return tuple(merged), len(merged)"),
        merges("return (new_id,)"),
        merges("return tuple(bytes(ids).replace(bytes(pair), bytes([new_id])))"),
        merges("return tuple(new_id if i in pair else i for i in ids)"),
        merges("ids = list(ids)", "return tuple(ids) if ids[:2] != pair else (new_id, *ids[2:])"),
        merges("out = list(ids)", "for i in range(len(out) - 1):",
               "    if (out[i], out[i + 1]) == pair:", "        out[i] = new_id",
               "        out[i + 1] = None", "return tuple(i for i in out if i)"),
        merges("out, last = [], None", "for i in ids:", "    if (last, i) == pair:",
               "        out[-1] = new_id", "    else:", "        out.append(i)", "    last = i",
               "return tuple(out)"),
        # train_bpe
        train.best("now[p] * len(vocab[p[0]] + vocab[p[1]])"),
        train.best("(vocab[p[0]], vocab[p[1]])"),
        train.best("(now[p], len(vocab[p[0]]), vocab[p[0]], vocab[p[1]])"),
        train.best("(now[p], -len(vocab[p[0]] + vocab[p[1]]), vocab[p[0]], vocab[p[1]])"),
        train.best("(now[p], vocab[p[0]][::-1], vocab[p[1]][::-1])"),
        train.best("(now[p], vocab[p[0]].lower(), vocab[p[1]].lower())"),
        train.best("(now[p], str(p))"),
        train.best("(now[p], hash(vocab[p[0]]) % 7, vocab[p[1]])"),
        train.best("(now[p], sum(vocab[p[0]]), sum(vocab[p[1]]))"),
        train.best("(now[p], vocab[p[0]], p[1])"),
        train.best("(now[p], p[0], vocab[p[1]])"),
        (*train.best("(now[p], -p[0], -p[1])"), train.RANGE, "range(255, 255 + n_merges)"),
        edit(train.RANGE, "range(256, 256 + 2 * n_merges)"),
        edit(train.RANGE, "range(256, 258)"),
        edit("merges.append(best)", "merges.append(best[::-1])"),
        edit("merges.append(best)", "merges.insert(0, best)"),
        edit("merges.append(best)", "merges.append((*best, new_id))"),
        edit("merges.append(best)", "merges.append((best, now[best]))"),
        edit("    return merges", "    return dict(enumerate(merges))"),
        edit("    return merges", "    return {p: i for i, p in enumerate(merges)}"),
        edit("    return merges", "    return merges[:10]"),
        edit("    return merges", "    return merges, vocab"),
        edit("            break", "            merges.append(None)\n            continue"),
        edit("vocab[new_id] = vocab[best[0]] + vocab[best[1]]",
             "vocab[new_id] = vocab[best[1]] + vocab[best[0]]"),
        edit("vocab[new_id] = vocab[best[0]] + vocab[best[1]]", "vocab[new_id] = vocab[best[0]]"),
        edit("vocab[new_id] = vocab[best[0]] + vocab[best[1]]", "vocab[new_id] = b''"),
        trains("return sorted(pair_counts(words), key=pair_counts(words).get)[-n_merges:]"),
        trains("return []"),
        train.best("(now[p], vocab[p[0]] + b' ' + vocab[p[1]])"),
        train.best("(now[p], vocab[p[0]].decode('cp1252', 'replace'), "
                   "vocab[p[1]].decode('cp1252', 'replace'))"),
        train.best("(now[p], vocab[p[0]].decode('cp437'), vocab[p[1]].decode('cp437'))"),
        train.best("(now[p], vocab[p[0]].decode(errors='ignore'), "
                   "vocab[p[1]].decode(errors='ignore'))"),
        train.best("(now[p], vocab[p[0]][0], vocab[p[1]][0])"),
        train.best("(now[p], max(vocab[p[0]], vocab[p[1]]))"),
        train.best("(now[p] // 2, vocab[p[0]], vocab[p[1]])"),
        edit("if not now:", "if not now or len(words) == 1:"),
        # bpe_encode
        edit(encode.PICK, "lowest = known[-1]"),
        edit(encode.PICK, "lowest = max(known)"),
        edit(encode.PICK, "lowest = known[len(known) // 2]"),
        edit(encode.PICK, "lowest = min(known, key=lambda p: ranks[p] % 3)"),
        edit(encode.PICK, "lowest = min(known, key=lambda p: abs(ranks[p] - 1))"),
        edit(encode.DO, "row = merge_pair(row, lowest, 257 - ranks[lowest])"),
        edit(encode.DO, "row = merge_pair(row, lowest, 256 + len(ranks) - ranks[lowest])"),
        edit("            return row", "            return row[::-1]"),
        edit("            return row", "            return sorted(row)"),
        edit("            return row", "            return [row]"),
        edit("            return row", "            return set(row)"),
        edit("row = tuple(ids)", "row = tuple(dict.fromkeys(ids))"),
        edit("row = tuple(ids)", "row = tuple(ids)[:8]"),
        encodes("return tuple(ids)"),
        edit(encode.PICK, "lowest = min(known, key=lambda p: (ranks[p] // 2, p))"),
        edit(encode.PICK, "lowest = min(known, key=sum)"),
        edit(encode.PICK, "lowest = min(known, key=lambda p: (len(known), p[::-1]))"),
        edit(encode.DO, "row = merge_pair(row, lowest, 256 + known.index(lowest))"),
        encodes("return [256 + ranks[p] for p in zip(ids, ids[1:]) if p in ranks]"),
        encodes("return len(ids)"),
        edit(encode.PICK, "lowest = min(known, key=lambda p: str(ranks[p]))"),
        edit(encode.PICK, "lowest = min(known, key=lambda p: (max(p), ranks[p]))"),
        edit(encode.DO, "row = merge_pair(row, lowest, 256 + list(ranks).index(lowest))"),
        edit(encode.DO, "row = merge_pair(row, lowest, max(row) + 1)"),
        edit("row = tuple(ids)", "row = tuple(i for i in ids if i)"),
        encodes("row = tuple(ids)", "for p, r in sorted(ranks.items()):",
                "    row = merge_pair(row, p, 256 + r)", "return row"),
        encodes("return [ranks[p] for p in zip(ids, ids[1:]) if p in ranks]"),
    )  # fmt: skip
    equivalent: ClassVar[dict[str, str]] = {
        "bytes([i]) -> [i]": "lists of numbers are joined and compared as byte strings are",
        "1 -> -1 #6": "a pair has two ids: the last is the second",
        "1 -> -1 #7": "a pair has two ids: the last is the second",
        "tuple(ids) -> ids": "a list may be returned, and merge_pair takes one",
    }
    masked: ClassVar[dict[tuple[str, str], str]] = {
        ("once for each word", "count replaced"): "what a pair has in one word is replaced anyway",
        ("counts of the last word", "counts of the first word"): "only one word is ever looked at",
        ("only the first occurrence", "second id kept"): NOT_SHORTER,
        ("only the first occurrence", "first id kept"): NOT_SHORTER,
        ("only the first occurrence", "pair after a pair not seen"): (
            "after the first occurrence there is no second to be missed"
        ),
        **{
            (order, other): "only pairs of bytes are compared, and for them both orders are one"
            for order in ("tie by ids", "tie by the joined byte strings", "tie by length")
            for other in ("counted only once", "words never merged")
        },
        **{
            (text, "n_merges taken for the vocabulary's size"): (
                "the one text with so many merges is of plain letters"
            )
            for text in ("tie by decoded text", "tie by the printed bytes")
        },
        **{
            ("counted only once", other): "nobody looks at the words again"
            for other in (
                "words never merged",
                "frequencies lost after a merge",
                "words without the pair lost",
                "new ids from 255",
                "new ids from 257",
                "new ids from 0",
                "new ids from 1",
            )
        },
        **{
            ("words never merged", other): "no new id ever comes into a word"
            for other in ("new ids from 255", "new ids from 257", "new ids from 1")
        },
        **{
            (ids, other): "byte strings do not show their ids"
            for ids in ("new ids from 257", "new ids from 1")
            for other in ("bytes for ids", "new tokens returned")
        },
    }

    # The three tests below replace those of ExerciseTests. They play only the part that is wrong:
    # the others are the solution's, and four times as many cases would take four times as long.

    def test_every_mistake_is_named_as_itself_and_costs_one_part(self) -> None:
        faults = []
        for mistake in EXERCISE.mistakes:
            assert mistake.story.endswith("."), mistake.name
            for form in mistake.forms:
                found = [m.name for m in alone(EXERCISE.text_of(form)).mistakes]
                if found != [mistake.name]:
                    faults.append(f"{mistake.name}: named {found}\n{form}")
        assert not faults, "\n".join(faults)
        for part in bpe.PARTS:
            mistake = part.MISTAKES[0]
            verdicts = judged(EXERCISE, EXERCISE.text_of(mistake.forms[0]))
            assert names(verdicts) == [mistake.name]
            assert sorted(v.state for v in verdicts.values()) == [PASS] * 3 + [WRONG]

    def test_wrong_answers_outside_the_catalogue_fail_and_get_no_name(self) -> None:
        assert len(self.wrong) >= 4 * ENOUGH, "twenty for each function"
        faults = []
        for form in self.wrong:
            verdict = alone(EXERCISE.solution + "\n\n" + self.text(form))
            if verdict.state == PASS or verdict.mistakes:
                faults.append(f"{verdict.state}, {[m.name for m in verdict.mistakes]}:\n{form}")
        assert not faults, "\n".join(faults)

    def test_two_mistakes_at_once_fail_and_get_no_false_name(self) -> None:
        tried, faults = set(), []
        for one, other, text in combined(EXERCISE):
            tried.add((one.name, other.name))
            verdict = alone(text)
            found = {mistake.name for mistake in verdict.mistakes}
            allowed = {one.name, other.name} if (one.name, other.name) in self.masked else set()
            if verdict.state == PASS or not found <= allowed:
                faults.append(f"{one.name}, {other.name}: {verdict.state}, {found}\n{text}")
        assert not faults, "\n".join(faults)
        assert set(self.masked) <= tried, "masked pairs that are no pairs"

    def test_each_part_may_be_written_alone(self) -> None:
        for part in bpe.PARTS:
            verdicts = judged(EXERCISE, part.SOLUTION)
            assert {v.state for v in verdicts.values()} == {PASS}

    def test_the_librarys_own_functions_are_borrowed(self) -> None:
        text = (
            "from llama_course.tokenizers import bpe_steps\n\n\n"
            "def bpe_encode(ids, ranks):\n    return bpe_steps.bpe_encode(ids, ranks)"
        )
        assert judged(EXERCISE, text)["bpe_encode"].state == BORROWED

    def test_no_text_of_the_cases_makes_one_byte_string_twice(self) -> None:
        # Whether two ids with one byte string are one token is left open: no case may ask it.
        def train_and_look(words: Words, n_merges: int) -> list[tuple[int, int]]:
            learned = bpe_steps.train_bpe(words, n_merges)
            tokens = bpe_steps.bpe_vocab(learned).values()
            assert len(set(tokens)) == len(tokens)
            return learned

        answer = SimpleNamespace(train_bpe=train_and_look)
        for case in EXERCISE.cases_of("train_bpe"):
            assert list(case.script(answer)), case.title
        for ranks in (encode.OWN, encode.ABC):
            tokens = bpe_steps.bpe_vocab(sorted(ranks, key=ranks.__getitem__)).values()
            assert len(set(tokens)) == len(tokens)
