"""Whatever an answer does to the world around it is put back when the check is over."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator
from typing import no_type_check

import numpy as np
import torch


@contextlib.contextmanager
def put_back() -> Iterator[None]:
    """Random states, default dtype, grad mode, threads and warning filters as they were before.

    Inside: float32 by default, gradients on, no warnings shown, and every source of chance seeded.
    """
    chance = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with warnings.catch_warnings(), np.errstate(), torch.enable_grad():
        warnings.simplefilter("ignore")
        try:
            settle()
            yield
        finally:
            random.setstate(chance[0])
            np.random.set_state(chance[1])
            torch.random.set_rng_state(chance[2])
            if cuda is not None:
                torch.cuda.set_rng_state_all(cuda)
            torch.set_default_dtype(dtype)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            if torch.are_deterministic_algorithms_enabled() != strict:
                torch.use_deterministic_algorithms(strict, warn_only=warn_only)


@no_type_check
def settle() -> None:
    """The same start for every scenario."""
    torch.set_default_dtype(torch.float32)
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)
