"""What a function that differs may be computing instead: each guess is tried on the same numbers.

A guess gets the arguments of the call (and what was found, to solve for a number) and computes
what would come out if it were true. It is told only where that is what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llama_course.parity.guesses.attention import attention_guesses, heads_guesses, mask_guesses
from llama_course.parity.guesses.guess import NOTHING, Guess
from llama_course.parity.guesses.norm import EPSILONS, epsilon_words, norm_guesses
from llama_course.parity.guesses.rope import angle_guesses, rotation_guesses
from llama_course.parity.guesses.swiglu import swiglu_guesses

__all__ = ["EPSILONS", "NOTHING", "Guess", "epsilon_words", "guesses"]

_GUESSES: dict[str, Callable[[tuple[Any, ...], Any], Iterator[Guess]]] = {
    "rms_norm": norm_guesses,
    "rope_angles": angle_guesses,
    "apply_rope": rotation_guesses,
    "causal_mask": mask_guesses,
    "repeat_kv": heads_guesses,
    "attention": attention_guesses,
    "swiglu": swiglu_guesses,
}


def guesses(function: str, args: tuple[Any, ...], found: Any) -> Iterator[Guess]:
    """The usual mistakes in a function, as far as they can be computed from one call."""
    made = _GUESSES.get(function)
    return iter(()) if made is None else made(args, found)
