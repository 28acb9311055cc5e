"""Checkpoints: Meta's, Hugging Face's and llama2.c's, read and written through `load`, `save`."""

from llama_course.checkpoints.huggingface import (
    huggingface_to_meta,
    huggingface_to_meta_rows,
    meta_to_huggingface,
    meta_to_huggingface_rows,
)
from llama_course.checkpoints.inspection import CheckpointInfo, inspect_checkpoint
from llama_course.checkpoints.meta import merge_shards, split_shards
from llama_course.checkpoints.store import AssumedField, load, save

__all__ = [
    "AssumedField",
    "CheckpointInfo",
    "huggingface_to_meta",
    "huggingface_to_meta_rows",
    "inspect_checkpoint",
    "load",
    "merge_shards",
    "meta_to_huggingface",
    "meta_to_huggingface_rows",
    "save",
    "split_shards",
]
