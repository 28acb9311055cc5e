"""Sampling the next token, and generating text with a cache."""

from llama_course.generation.generate import generate, generate_ids
from llama_course.generation.sampling import sample

__all__ = ["generate", "generate_ids", "sample"]
