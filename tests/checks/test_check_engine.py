"""The engine itself: states, symptoms, borrowed answers, stops, and what is put back."""

from __future__ import annotations

import functools
import random
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llama_course import checks, model
from llama_course.checks.engine import limits
from llama_course.checks.engine.judge import judge
from llama_course.checks.engine.surroundings import put_back
from llama_course.checks.exercise import LEVELS, Case, Exercise, Hints, Mistake, edit
from llama_course.checks.mutants import mutants
from llama_course.checks.scripts import calls, fair, settled
from llama_course.checks.testing import judged
from llama_course.errors import CourseError

RMS = checks.find("rms_norm")


def right(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def verdict(answer: Any) -> Any:
    return judge(RMS, {"rms_norm": answer}, {})["rms_norm"]


def test_right_answer_passes_and_every_case_was_run() -> None:
    found = verdict(right)
    assert found.state == "pass"
    assert [ok for _, ok in found.outcomes] == [True] * len(RMS.cases)


def in_place(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    result = right(x, weight, eps)
    x.add_(1)
    return result


def in_place_and_back(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    x.requires_grad_() if x.is_floating_point() else None
    return right(x.detach(), weight, eps)


def raises(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    raise KeyError("no such thing")


def calls_itself(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return calls_itself(x, weight, eps)


def leaves(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    raise SystemExit(3)


async def later(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return right(x, weight, eps)


def yields(x: torch.Tensor, weight: torch.Tensor, eps: float) -> Any:
    yield right(x, weight, eps)


@pytest.mark.parametrize(
    ("answer", "state", "symptom", "words"),
    [
        (lambda x, w, e: None, "wrong", "none", "is a `return` missing?"),
        (lambda x, w, e: x.float().numpy(), "wrong", "numpy", "a NumPy array"),
        (lambda x, w, e: right(x, w, e).double(), "wrong", "dtype", "float64"),
        (lambda x, w, e: right(x, w, e)[..., :-1], "wrong", "shape", "shape"),
        (lambda x, w, e: right(x, w, e) * float("nan"), "wrong", "nan", "NaN"),
        (lambda x, w, e: x, "wrong", "returns input", "memory of x"),
        (lambda x, w, e: right(x, w, e).detach(), "wrong", "gradient", "No gradient reaches x"),
        (lambda x, w, e: (right(x, w, e), 1), "wrong", "type", "a tuple"),
        (lambda x, w: right(x, w, 1e-5), "wrong", "arguments", "takes `(x, w)`"),
        (in_place, "wrong", "modifies input", "changes its input"),
        (in_place_and_back, "wrong", "modifies input", "changes its input"),
        (raises, "crashed", "raised", "raise KeyError"),
        (calls_itself, "crashed", "raised", "calls itself without an end"),
        (leaves, "crashed", "raised", "SystemExit"),
        (later, "wrong", "type", "async"),
        (yields, "wrong", "type", "`yield`"),
        (nn.RMSNorm, "wrong", "type", "is a class"),
        (3.0, "wrong", "type", "cannot be called"),
        (torch.ones(3), "wrong", "type", "a tensor"),
    ],
)
def test_symptoms_are_told_apart(answer: Any, state: str, symptom: str, words: str) -> None:
    found = verdict(answer)
    assert (found.state, found.symptom) == (state, symptom), found.message
    assert words in found.message
    assert not found.mistakes


def test_only_the_learners_own_lines_are_shown() -> None:
    def deep(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        return torch.nn.functional.pad(x, (1, 2, 3, 4, 5, 6, 7, 8))

    found = verdict(deep)
    assert found.state == "crashed"
    assert "in `deep`" in found.message and "functional.pad" in found.message
    assert "llama_course" not in found.message


@pytest.mark.parametrize(
    "answer",
    [
        lambda x, w, e: torch.rms_norm(x, (x.shape[-1],), w, e),
        lambda x, w, e: F.rms_norm(x, x.shape[-1:], weight=w, eps=e),
        lambda x, w, e: torch.ops.aten.rms_norm(x, [x.shape[-1]], w, e),
        lambda x, w, e: torch.ops.aten.rms_norm.default(x, [x.shape[-1]], w, e),
        lambda x, w, e: nn.RMSNorm(x.shape[-1], e, dtype=x.dtype)(x) * w,
        lambda x, w, e: getattr(torch, "rms" + "_norm")(x, (x.shape[-1],), w, e),
        functools.partial(lambda f, x, w, e: f(x, (x.shape[-1],), w, e), torch.rms_norm),
        model.rms_norm,
        lambda x, w, e: model.rms_norm(x, w, e),
        lambda x, w, e: model.Components().rms_norm(x, w, e),
        lambda x, w, e: model.RMSNorm(x.shape[-1], e)(x) * w,
        lambda x, w, e: RMS.load(RMS.solution)["rms_norm"](x, w, e),
        lambda x, w, e: RMS.truth["rms_norm"](x, w, e),
        lambda x, w, e: F.layer_norm(x, x.shape[-1:], w, None, e),
    ],
)
def test_borrowed_answers_are_seen_while_they_run(answer: Any) -> None:
    found = verdict(answer)
    assert found.state == "borrowed", found.message
    assert "calls `" in found.message and not found.mistakes


def test_ordinary_operations_are_not_borrowed() -> None:
    def unusual(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """Calls neither torch.rms_norm nor layer_norm, though it speaks of them."""
        rms_norm = torch.linalg.vector_norm(x.float(), dim=-1, keepdim=True) ** 2
        layer_norm = F.dropout(nn.Identity()(x.float()), 0.0)
        quotient = layer_norm / torch.sqrt(rms_norm / x.shape[-1] + eps)
        return torch.ops.aten.mul(quotient.type(x.dtype), weight)

    assert verdict(unusual).state == "pass"


def swallows(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    while True:
        try:  # noqa: SIM105
            x = x + 1
        except:  # noqa: E722
            pass


def swallows_in_two(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    while True:
        try:
            while True:
                try:
                    len("x")
                except BaseException:
                    continue
        finally:
            continue  # noqa: B012


def plain_loop(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    while True:
        pass


def sleeps(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    for _ in range(400):
        try:  # noqa: SIM105
            time.sleep(0.02)
        except:  # noqa: E722
            pass
    return x


@pytest.mark.parametrize(
    "answer",
    [plain_loop, swallows, swallows_in_two, pytest.param(sleeps, marks=pytest.mark.slow)],
)
def test_endless_loops_are_stopped(answer: Any) -> None:
    found = verdict(answer)
    assert found.state == "too slow"
    assert "never ends" in found.message
    assert verdict(right).state == "pass", "the next check is not disturbed"
    assert all(resting.wait(20) for resting in limits._given_up.values()), "it burns on"


def test_surroundings_are_put_back() -> None:
    def upsets(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.manual_seed(1)
        torch.set_num_threads(1)
        random.random()
        np.random.rand()
        warnings.simplefilter("error")
        print("noise")
        return right(x, weight, eps)

    torch.manual_seed(7)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    threads, filters = torch.get_num_threads(), list(warnings.filters)
    with torch.no_grad():
        verdict(upsets)
        assert not torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    assert torch.get_num_threads() == threads and list(warnings.filters) == filters


def test_pythons_own_chance_is_put_back() -> None:
    # Alone: the tests' type checker draws from it as well, whenever it looks into a container.
    before = random.getstate()
    with put_back():
        random.seed(5)
        random.random()
    assert random.getstate() == before


def test_judging_does_not_depend_on_the_callers_settings() -> None:
    torch.set_default_dtype(torch.float64)
    with torch.inference_mode():
        assert verdict(right).state == "pass"


def test_printing_is_kept_for_the_case_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    def prints(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        print("shape", tuple(x.shape), object())
        return right(x, weight, eps) * 2

    found = verdict(prints)
    assert "shape (4,)" in found.printed and "0x..." in found.printed
    assert capsys.readouterr().out == ""


def test_one_mistake_costs_one_part() -> None:
    softmax = checks.find("softmax")
    wrong = softmax.text_of(edit("wide - largest", "wide + largest"))
    verdicts = judged(softmax, wrong)
    assert {name: v.state for name, v in verdicts.items()} == {
        "log_sum_exp": "wrong",
        "softmax": "pass",
    }


def test_parts_find_each_other_where_they_were_written() -> None:
    softmax = checks.find("softmax")
    parts = softmax.load(softmax.solution, module="answer")
    namespace = parts["softmax"].__globals__
    own = namespace["log_sum_exp"]
    judge(softmax, parts, {})
    assert namespace["log_sum_exp"] is own, "the learner's own part is put back"


def test_two_objects_of_a_class_and_odd_classes() -> None:
    mean = checks.find("running_mean")

    class Lacks:
        def __init__(self, dim: int) -> None:
            pass

    found = judge(mean, {"RunningMean": Lacks}, {})["RunningMean"]
    assert (found.state, found.symptom) == ("wrong", "arguments")
    assert "no `update`" in found.message
    found = judge(mean, {"RunningMean": lambda dim: None}, {})["RunningMean"]
    assert "should be a class" in found.message
    assert judge(mean, {}, {})["RunningMean"].state == "not attempted"


def test_two_mistakes_that_fit_are_both_said() -> None:
    def script(answer: Any) -> Any:
        yield "one", answer.half(2.0)

    case = Case("Half of two", "example", "Half of x.", "nothing", script, dtype=None)
    exercise = Exercise(
        name="half",
        lesson="00",
        title="Half",
        starter='def half(x):\n    """Half of x."""\n    raise NotImplementedError',
        solution="def half(x):\n    return x / 2",
        cases=(case,),
        mistakes=(
            Mistake("times two", "It is doubled.", (edit("/ 2", "* 2"),)),
            Mistake("squared", "It is squared.", (edit("/ 2", "** 2"),)),
            Mistake("no change", "It is right.", (edit("x / 2", "x * 0.5"),)),
        ),
        hints=Hints("Divide.", "Divide by two."),
        difficulty="easy",
        importance="None.",
        minutes=1,
    )
    found = judge(exercise, {"half": lambda x: x + x}, {})["half"]
    assert [m.name for m in found.mistakes] == ["times two", "squared"]
    assert "Two mistakes look alike" in found.message
    assert judge(exercise, {"half": lambda x: x / 2}, {})["half"].state == "pass"


def test_an_error_of_torchs_own_is_no_missing_line(tmp_path: Path) -> None:
    file = tmp_path / "answer.py"
    file.write_text("def rms_norm(x, weight, eps):\n    return x & x\n", encoding="utf-8")
    space: dict[str, Any] = {}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), space)
    with pytest.raises(NotImplementedError):
        space["rms_norm"](torch.ones(1), None, None)
    found = judge(checks.find("rms_norm"), {"rms_norm": space["rms_norm"]}, {})["rms_norm"]
    assert found.state == "crashed"
    assert "still raises" not in found.message


def test_values_near_a_rounding_boundary_are_left_out() -> None:
    between = torch.tensor([1.0 + 2**-8, 1.0 + 2**-9], dtype=torch.float64)  # bfloat16: 2^-7 apart
    assert settled(between, torch.bfloat16).tolist() == [False, True]
    with pytest.raises(ValueError, match="no seed"):
        fair(lambda seed: torch.full((2,), 1.0 + 2**-8), lambda x: x, torch.bfloat16)


def test_mutants_change_one_place_each() -> None:
    source = (
        "def f(x, n):\n    '''words'''\n    y = x.float().mean(dim=-1)\n"
        "    return y + n * 2 if n > 0 else y"
    )
    changes = [m.change for m in mutants(source)]
    assert len(set(changes)) == len(changes)
    for expected in (
        "y + n * 2 -> y - n * 2",
        "n > 0 -> n >= 0",
        "-1 -> 0",
        "x.float() -> x",
        "x.float().mean(dim=-1) -> x.float()",
        "x.float().mean(dim=-1) -> x.float().mean()",
        "y = x.float().mean(dim=-1) -> pass",
    ):
        assert expected in changes, expected
    assert not any("words" in change for change in changes)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(CourseError, match="did you mean rms_norm"):
        checks.find("rmsnorm")
    assert checks.find("log_sum_exp").name == "softmax", "a part is found as well"


def test_every_exercise_has_what_the_builder_needs() -> None:
    for exercise in checks.everything():
        assert exercise.parts and exercise.starter.startswith("\n")
        assert set(exercise.load(exercise.solution)) == set(exercise.parts)
        assert exercise.difficulty in ("easy", "medium", "hard")
        assert exercise.importance.endswith(".") and exercise.minutes > 0
        assert len(exercise.mistakes) >= 8
        assert all(case.level in LEVELS for case in exercise.cases)


def test_threads_do_not_pile_up() -> None:
    verdict(right)
    before = threading.active_count()
    for _ in range(3):
        verdict(right)
    assert threading.active_count() <= before


def test_calls_copy_their_arguments() -> None:
    x = torch.ones(3)
    case = Case("t", "example", "s", "c", calls("half", x))
    from llama_course.checks.engine.answer import Answer

    def spoil(t: torch.Tensor) -> torch.Tensor:
        return t.zero_()

    answer = Answer({"half": spoil}, lambda path: ("t",))
    assert [v.tolist() for _, v in case.script(answer)] == [[0.0, 0.0, 0.0]]
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert list(answer._changed) == ["t of half"]
