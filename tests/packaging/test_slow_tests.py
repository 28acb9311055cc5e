"""The list of tests that the quick run leaves out: made by measuring, and without dead names."""

from __future__ import annotations

from pathlib import Path

from record_slow import listed, slow_tests

ROOT = Path(__file__).parents[2]


def test_a_functions_cases_count_together() -> None:
    log = "0.90s call     tests/a.py::one[x y]\n0.70s setup    tests/a.py::one[z]\n"
    assert slow_tests(log + "1.00s call     tests/a.py::two\n") == ["tests/a.py::one"]
    # What was not run is neither slow nor quick by this log; what was is judged anew.
    before = ["tests/a.py::two", "tests/b.py::three"]
    assert slow_tests(log, before) == ["tests/a.py::one", "tests/a.py::two", "tests/b.py::three"]
    again = log + "1.00s call     tests/a.py::two\n"
    assert slow_tests(again, before) == ["tests/a.py::one", "tests/b.py::three"]


def test_each_name_on_the_list_is_a_test() -> None:
    assert listed()
    gone = []
    for name in listed():
        file, *inside = name.split("::")
        path = ROOT / file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        # A proof that each exercise inherits is not written in its file; its class is.
        words = f"class {inside[0]}(" if len(inside) > 1 else f"def {inside[0]}("
        if words not in text:
            gone.append(name)
    assert not gone, "make the list again (tests/record_slow.py says how)"
