"""What lessons call: the kernel's check, figures with words, and the line that compares."""

from __future__ import annotations

import base64
import html
import io
import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from llama_course.errors import CourseError
from llama_course.workbook.quiz import quiz

__all__ = ["compare", "quiz", "ready", "show"]

DPI = 110
LARGEST_PICTURE = 80_000  # bytes


def ready() -> None:
    """Say that the kernel has the course, or what it lacks."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise CourseError(
            "This kernel has llama_course but not torch: choose the kernel of the course's own "
            ".venv (Kernel, Change Kernel), or start by 'python course.py'."
        ) from None
    print("Ready: this kernel is the course's.")


def show(figure: Figure, *, alt: str) -> None:
    """Show a figure with the words that say what it shows.

    `alt` is made from the plotted data, so that it cannot say something else than the picture. It
    is stored with the picture, and again as a line that a screen reader finds and anyone can open.

    Raises `CourseError` for a missing text, a figure without axes, or a picture above 80 kB.
    """
    from IPython.display import display

    alt = " ".join(alt.split())
    if len(alt) < 20:
        raise CourseError(f"The figure's alt text says too little: {alt!r}.")
    if not figure.axes:
        raise CourseError("The figure is empty: it has no axes.")
    png = picture(figure)
    if len(png) > LARGEST_PICTURE:
        raise CourseError(
            f"The picture has {len(png) // 1000} kB, at most {LARGEST_PICTURE // 1000} are "
            "allowed: draw fewer points, or a smaller figure."
        )
    encoded = base64.b64encode(png).decode("ascii")
    bundle = {"image/png": encoded, "text/plain": f"[picture] {alt}"}
    display(bundle, raw=True, metadata={"image/png": {"alt": alt}})
    details = f"<details><summary>The picture in words</summary><p>{html.escape(alt)}</p></details>"
    display({"text/html": details, "text/plain": alt}, raw=True)


def picture(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure as a PNG without dates or versions: equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def compare(**values: Any) -> None:
    """Print one line on whether two or more results are the same numbers.

    `compare(loop=a, vectorised=b)` prints "exact", or "close" and a power of ten above the largest
    difference, or "different" and the difference. Tensors, arrays, numbers and lists will do.
    The largest difference that still counts as close is 1e-5 of the largest value, 1e-2 where a
    value is in a 16-bit dtype.
    """
    if len(values) < 2:
        raise CourseError("compare() needs two results or more, such as compare(loop=a, module=b).")
    names = ", ".join(values)
    arrays = [_array(value) for value in values.values()]
    kinds = {str(getattr(value, "dtype", "")).removeprefix("torch.") for value in values.values()}
    shapes = [array.shape for array in arrays]
    if len(set(shapes)) > 1:
        print(f"{names}: different shapes, {', '.join(map(str, shapes))}")
        return
    gap = max(_gap(arrays[0], other) for other in arrays[1:])
    coarse = kinds & {"bfloat16", "float16"}
    largest = float(np.max(np.abs(arrays[0]), initial=0))
    if gap == 0:
        print(f"{names}: exact")
    elif gap <= (1e-2 if coarse else 1e-5) * largest:
        # Rounding differs between machines, so the bound is never finer than the dtype's.
        finest = -6 if "float32" in kinds else -14
        power = max(finest, math.floor(math.log10(gap)) + 1)
        print(f"{names}: close, the largest difference is below 1e{power}")
    else:
        print(f"{names}: different, by up to {gap:.3g}")


def _array(value: Any) -> np.ndarray:
    """A tensor, an array, a number or a list as float64 (complex128 where it is complex)."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.numpy() if value.is_complex() else value.double().numpy()
    array = np.asarray(value)
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference; infinite where only one of two values is a number."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(one - other))
    return float(np.max(np.nan_to_num(apart, nan=np.inf), initial=0))
