"""What a comparison found, and how it says so."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Difference:
    """One component that differs: where, by how much, and what it usually means.

    `max_abs` is the largest difference, `relative` that part of the expected values' largest;
    both are None where numbers could not be compared (another shape, an exception).
    """

    component: str  # "layers.0.attention.wk weight"
    order: tuple[int, ...]  # where it stands in a forward
    words: str  # what was expected, and what was found
    max_abs: float | None = None
    relative: float | None = None
    meanings: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.component}: {self.words}"]
        if self.max_abs is not None and self.relative is not None:
            lines.append(f"  largest difference {self.max_abs:.3g}, {self.relative:.3g} of scale")
        lines += [f"  {meaning}" for meaning in self.meanings]
        return "\n".join(lines)


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared, in the order of a forward."""

    a: str  # the reference
    b: str
    compared: tuple[str, ...]  # "291 weights", "7 functions in float32"
    tolerances: tuple[str, ...]  # what counts as equal, and why
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def equal(self) -> bool:
        return not self.differences

    @property
    def first(self) -> Difference | None:
        """The first component of a forward that differs; None where none does."""
        return self.differences[0] if self.differences else None

    def __str__(self) -> str:
        lines = [f"A: {self.a}", f"B: {self.b}", f"compared: {', '.join(self.compared)}"]
        lines += [f"note: {note}" for note in self.notes]
        if self.first is None:
            lines.append("No difference.")
        else:
            lines += ["First difference", *(f"  {line}" for line in str(self.first).splitlines())]
            others = [d.component for d in self.differences[1:]]
            if others:
                more = f" and {len(others) - 6} more" if len(others) > 6 else ""
                lines.append(f"Also different: {', '.join(others[:6])}{more}")
        return "\n".join([*lines, *(f"tolerance: {words}" for words in self.tolerances)])

    __repr__ = __str__
