"""Your own parts where they have passed, the library's where they have not (yet).

    from llama_course.mine import rms_norm, attention

gives the function that is kept in `my_llama/rms_norm.py` (or, for a class such as `Cache`, the
class), and otherwise a plain version of the library's, with the very arguments that yours has:
repeated heads, an explicit mask, weight tensors. As long as the file stays the same you get the
same object; after it has changed you get the new one. `whose()` says which is which.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from llama_course import model
from llama_course.errors import CourseError, nearest

if TYPE_CHECKING:
    from llama_course.workbook.my_llama import Whose

FUNCTIONS = (
    "rms_norm",
    "rope_angles",
    "apply_rope",
    "causal_mask",
    "attention",
    "repeat_kv",
    "swiglu",
)
CACHE = ("Cache", "decode_positions")  # the library's are in model/plain_cache.py
_CACHE_ROOMS = ("plain_cache", "cached_attention")
OWN = ("Block", "MyLlama")  # yours alone: the library's are built otherwise
NAMES = (*FUNCTIONS, *CACHE, *OWN)


def whose() -> Whose:
    """Which parts are yours, which the library's, and which of your files do not load."""
    from llama_course.workbook.my_llama import whose_are

    return whose_are(NAMES)


def library(name: str) -> Any:
    """The library's plain version of a part, or None where there is none."""
    if name in _PLAIN:
        return _PLAIN[name]
    if name in NAMES and name not in CACHE:
        return None
    for room in _CACHE_ROOMS:
        module = importlib.import_module(f"llama_course.model.{room}")
        found = getattr(module, name, None)
        if getattr(found, "__module__", None) == module.__name__:
            return found
    return None


def given(name: str) -> tuple[Any, str | None]:
    """What `from llama_course.mine import NAME` gives, and a sentence on a file that is broken.

    Raises CourseError where the part is neither yours nor the library's, and where its own file
    asks for it.
    """
    from llama_course.workbook import my_llama

    my_llama.refuse_circles(name)
    problem = None
    if my_llama.is_kept(name):
        try:
            return my_llama.load_mine(name), None
        except CourseError as error:
            problem = told(error, name)
    found = library(name)
    if found is None:
        if problem is None and name in OWN:
            problem = f"There is no {name} of yours yet: pass check({name!r}) and it is kept."
        known = [*NAMES, *my_llama.kept()]
        unknown = f"llama_course.mine has no {name!r}: {nearest(name, dict.fromkeys(known))}"
        raise CourseError(problem or unknown)
    return found, problem


def told(error: CourseError, name: str) -> str:
    """Why the file of `name` does not load; where it needs another file, what is wrong there."""
    root: BaseException = error
    while isinstance(root.__cause__, CourseError):
        root = root.__cause__
    return str(error) if root is error else f"{root} Your {name} needs it."


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from llama_course.workbook import my_llama

    found, problem = given(name)
    my_llama.asked_for(name, found)
    if problem is not None:
        warnings.warn(f"{problem} Until then the library's is used.", stacklevel=2)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *NAMES])


# ---- the library's, with a learner's arguments ---------------------------------------------------

_PLAIN: dict[str, Any] = {}


def _plain(function: Any) -> Any:
    """Known under its own name, without the underscore that lets `__getattr__` decide."""
    function.__name__ = function.__qualname__ = function.__name__.removeprefix("_")
    _PLAIN[function.__name__] = function
    return function


@_plain
def _rms_norm(
    x: Float[Tensor, "*batch dim"], weight: Float[Tensor, " dim"], eps: float | int
) -> Float[Tensor, "*batch dim"]:
    """`x / sqrt(mean(x^2) + eps) * weight`; x and weight have one dtype."""
    return model.rms_norm(x, weight, eps)


@_plain
def _rope_angles(
    positions: Int[Tensor, "*batch seq"], head_dim: int, theta: float | int
) -> tuple[Float[Tensor, "*batch seq half"], Float[Tensor, "*batch seq half"]]:
    """Cosine and sine of every position's angles, float32."""
    return model.rope_angles(positions, head_dim, theta)


@_plain
def _apply_rope(
    x: Float[Tensor, "batch seq heads head_dim"],
    cos: Float[Tensor, "*batch seq half"],
    sin: Float[Tensor, "*batch seq half"],
) -> Float[Tensor, "batch seq heads head_dim"]:
    """Turn the pairs (x0, x1), (x2, x3), ... of every head."""
    return model.apply_rope(x, cos, sin)


@_plain
def _causal_mask(
    q_positions: Int[Tensor, "*#batch q_len"], k_positions: Int[Tensor, "*#batch k_len"]
) -> Bool[Tensor, "*#batch q_len k_len"]:
    """True where a query may look: at keys of its own position and of earlier ones."""
    return model.causal_mask(q_positions, k_positions)


@_plain
def _attention(
    q: Float[Tensor, "batch heads q_len head_dim"],
    k: Float[Tensor, "batch heads k_len head_dim"],
    v: Float[Tensor, "batch heads k_len head_dim"],
    mask: Bool[Tensor, "*#mask_batch q_len k_len"],
) -> Float[Tensor, "batch heads q_len head_dim"]:
    """`softmax(q k^T / sqrt(head_dim)) v` over the keys that `mask` shows."""
    if k.shape[1] != q.shape[1] or v.shape[1] != q.shape[1]:
        raise ValueError(
            f"attention wants as many key and value heads as query heads ({q.shape[1]}), found "
            f"{k.shape[1]} and {v.shape[1]}; repeat_kv(k, n) repeats them"
        )
    if mask is None:
        raise ValueError("attention wants a mask; causal_mask(q_positions, k_positions) makes one")
    return model.attention(q, k, v, mask)


@_plain
def _repeat_kv(
    x: Float[Tensor, "batch kv_heads seq head_dim"], n: int
) -> Float[Tensor, "batch heads seq head_dim"]:
    """Give each key/value head to `n` neighbouring heads: 0, 0, 1, 1, ... for n = 2."""
    return model.repeat_kv(x, n)


@_plain
def _swiglu(
    x: Float[Tensor, "*batch dim"],
    w1: Float[Tensor, "hidden dim"],
    w2: Float[Tensor, "dim hidden"],
    w3: Float[Tensor, "hidden dim"],
) -> Float[Tensor, "*batch dim"]:
    """`w2(silu(w1 x) * w3 x)`, with the weights as in the checkpoint."""
    return model.swiglu(x, w1, w2, w3)
