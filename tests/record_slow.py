"""Which tests are too slow for the quick run, by measurement: makes tests/slow_tests.txt.

    python -m pytest -n 2 --durations=0 -vv tests > LOG    (OMP_NUM_THREADS=1)
    python tests/record_slow.py LOG

With -m "not slow" only the quick ones run again; what was not run stays on the list.

A test function whose cases take more than LIMIT seconds together is left out of
`course.py test --quick`. The whole run has them all.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

LIMIT = 1.2  # seconds on one quiet core; what is left takes about a minute and a half on two
LIST = Path(__file__).with_name("slow_tests.txt")
LINE = re.compile(r"\s*([\d.]+)s (?:call|setup|teardown)\s+(tests/[^\[\s]+)")


def slow_tests(text: str, before: Iterable[str] = ()) -> list[str]:
    """The functions of a log that take more than `LIMIT`, in the order of their names.

    Of those on the list `before` the ones that the log does not time are kept.
    """
    seconds: Counter[str] = Counter()
    for line in text.splitlines():
        if found := LINE.match(line):
            seconds[found[2]] += float(found[1])
    slow = {name for name, taken in seconds.items() if taken > LIMIT}
    return sorted(slow.union(name for name in before if name not in seconds))


def listed() -> list[str]:
    """The functions that the quick run leaves out."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


if __name__ == "__main__":
    found = slow_tests(Path(sys.argv[1]).read_text(encoding="utf-8"), listed())
    head = "# Made by record_slow.py from a measured run; not for editing.\n"
    LIST.write_text(head + "".join(f"{name}\n" for name in found), encoding="utf-8")
    print(f"{len(found)} test functions take more than {LIMIT} s each.")
