"""Where two models part: component by component, each fed with the reference's own inputs."""

from llama_course.parity.finder import first_divergence
from llama_course.parity.functions import raised
from llama_course.parity.report import Comparison, Difference
from llama_course.parity.sides import Side, side, with_functions

__all__ = [
    "Comparison",
    "Difference",
    "Side",
    "first_divergence",
    "raised",
    "side",
    "with_functions",
]
