"""A model without memory, and its weights put in one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from llama_course.checkpoints.names import EMBEDDING, HEAD, some
from llama_course.checkpoints.reading import Checkpoint, Stored, dtype_name, gigabytes
from llama_course.config import PRESETS, ModelConfig
from llama_course.errors import CourseError
from llama_course.hardware import free_memory

Build = Callable[[ModelConfig], nn.Module]


def build_empty(build: Build, config: ModelConfig) -> nn.Module:
    """`build(config)` with parameters that take no memory (torch's device "meta").

    A class that computes tables when it is made (a buffer of cosines) is built once more with
    only its parameters on meta, since a table there has no numbers.
    """
    failed = False
    try:
        with torch.device("meta"), _NothingDrawn():
            model = _a_module(build(config))
        failed = any(True for _ in _tables_on_meta(model))
    except RuntimeError:  # it looked at numbers that are not there
        failed = True
    if not failed:
        return model
    with _parameters_on_meta():
        return _a_module(build(config))


def _a_module(made: object) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise CourseError(
            f"build(config) must give a torch.nn.Module with Meta's parameters, found "
            f"{type(made).__name__}; derive the class from nn.Module."
        )
    return made


class _NothingDrawn(TorchFunctionMode):
    """Leaves out the drawing of first weights: on meta it does nothing, at the price of seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensor = kwargs.get("tensor", args[0] if args else None)
        drawn = getattr(func, "__module__", "") == "torch.nn.init" or func in _DRAWN
        if drawn and isinstance(tensor, Tensor) and tensor.is_meta:
            return tensor
        return func(*args, **kwargs)


_DRAWN = (Tensor.normal_, Tensor.uniform_)


def _tables_on_meta(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        for value in (*module._buffers.values(), *vars(module).values()):
            if isinstance(value, Tensor) and value.is_meta:
                yield value


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Every parameter goes to meta at the moment a module takes it."""
    register = nn.Module.register_parameter

    def on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
        register(self, name, param)

    nn.Module.register_parameter = on_meta  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def check_parameters(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Refuse a model whose parameters are not those of the checkpoint, by name and shape."""
    wanted = {n: tuple(p.shape) for n, p in model.named_parameters(remove_duplicate=False)}
    found = {name: stored.shape for name, stored in checkpoint.tensors.items()}
    if checkpoint.config.tie_embeddings and HEAD in wanted:
        found[HEAD] = found[EMBEDDING]
    name = type(model).__name__
    lacks = [n for n in found if n not in wanted]
    extra = [n for n in wanted if n not in found]
    if lacks or extra:
        parts = [f"it lacks {some(lacks)}"] if lacks else []
        parts += [f"it has {some(extra)} besides"] if extra else []
        raise CourseError(
            f"{name} cannot be filled from {checkpoint.folder}, whose {len(found)} tensors have "
            f"Meta's names: {', and '.join(parts)}; name the parameters of {name} as Meta does."
        )
    for n, shape in found.items():
        if wanted[n] != shape:
            raise CourseError(
                f"{name} makes {n} with shape {wanted[n]}, and the checkpoint has {shape}; "
                "a weight is stored as (out, in)."
            )
    _check_each_is_one(model)


def _check_each_is_one(model: nn.Module) -> None:
    """Refuse two names for one parameter, where the checkpoint has two tensors for them."""
    seen: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = seen.setdefault(id(parameter), name)
        if first != name and {first, name} != {EMBEDDING, HEAD}:
            raise CourseError(
                f"{type(model).__name__} has one parameter under two names, {first} and {name}, "
                "and the checkpoint has a tensor for each; [Block(config)] * n is a list of one "
                "Block, so make a new one for each layer."
            )


def check_memory(
    config: ModelConfig,
    tensors: dict[str, Stored],
    dtype: torch.dtype | None,
    device: torch.device,
) -> None:
    """Refuse to begin what the machine has no memory for, and say what would fit."""
    need = sum(
        stored.numel * (dtype or stored.dtype).itemsize
        for stored in tensors.values()
        if device.type != "cpu" or not stored.mapped or (dtype or stored.dtype) != stored.dtype
    )
    free = free_memory(device) if need else None
    if free is None or need <= free:
        return
    kind = dtype_name(dtype or next(iter(tensors.values())).dtype)
    advice = "choose a smaller model or a device with more memory"
    half = sum(stored.numel * 2 for stored in tensors.values())
    if half < need and half <= free:
        advice = "use dtype=torch.bfloat16"
    elif device.type != "cpu":
        advice = 'choose a smaller model, or device="cpu"'
    size = next((name for name, preset in PRESETS.items() if preset == config), "the model")
    raise CourseError(
        f"No memory for {size} in {kind}: it needs {gigabytes(need)} on {device}, and "
        f"{gigabytes(free)} are free; {advice}."
    )


def fill(
    model: nn.Module,
    checkpoint: Checkpoint,
    dtype: torch.dtype | None,
    device: torch.device,
    done: Callable[[int], Any],
) -> None:
    """Put every tensor of the checkpoint into the model; one at a time is read and converted."""
    for name, stored in checkpoint.tensors.items():
        _put(model, name, checkpoint.read(name).to(device=device, dtype=dtype or stored.dtype))
        done(stored.nbytes)
    names = dict(model.named_parameters(remove_duplicate=False))
    if checkpoint.config.tie_embeddings and HEAD in names:
        module, leaf = _place(model, HEAD)
        setattr(module, leaf, names[EMBEDDING])  # one tensor, used twice
    model.to(device)  # tables, if the class has any; the parameters are there


def _place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _put(model: nn.Module, name: str, tensor: Tensor) -> None:
    module, leaf = _place(model, name)
    wants_grad = module.get_parameter(leaf).requires_grad
    setattr(module, leaf, nn.Parameter(tensor, requires_grad=wants_grad))
