"""A GPU for a machine without one: its tensors have real numbers, and may meet no others.

To Python such a tensor is on `cuda:0`; its numbers are kept, and computed with, on the CPU. Every
operator runs twice: on the numbers, and on torch's fake tensors of the same shapes and devices. The
latter say where the result is, and raise where torch would for tensors of two devices. (Fake tensors
alone can't go through autograd in a torch built without CUDA.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Generator, Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from dendrites.operators import OPERATORS

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
FREE_BYTES = 80 * 10**9
_FAKES = FakeTensorMode()


class GPUTensor(Tensor):
    """A tensor of the pretended GPU; `numbers` are its numbers, on the CPU."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> GPUTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=CPU,  # as autograd in C++ is to see it
        )
        made.numbers = numbers
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"GPUTensor({self.numbers})"

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What Python asks without an operator being called."""
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return GPU
        if func == Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return True
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func is Tensor.data_ptr:
            raise RuntimeError("code of the CPU asks for the address of a tensor of the GPU")
        if func is Tensor.tolist:
            return args[0].numbers.tolist()
        if func is Tensor.cpu or (func is Tensor.to and CPU in map(_place, args[1:])):
            return args[0].detach().numbers.clone()
        with torch._C.DisableTorchFunctionSubclass():  # what is on the CPU stays a plain tensor
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(
        cls, func: OpOverload, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _MakesTensors(TorchDispatchMode):
    """Lets operators make tensors on the GPU."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("device") == GPU or any(issubclass(kind, GPUTensor) for kind in types):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


class _CompletesNames(TorchFunctionMode):
    """`cuda` is the first GPU: to know that, torch would ask CUDA."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = {name: _place(value) for name, value in (kwargs or {}).items()}
        return func(*map(_place, args), **kwargs)


class _GPUGenerator(Generator):
    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU


def generator(where: object = "cpu") -> Generator:
    """A `Generator`; on the GPU one that says it is there, which torch without CUDA can't make."""
    return _GPUGenerator() if _place(where) == GPU else Generator()


def _run(func: OpOverload, args: tuple, kwargs: dict[str, Any]) -> Any:
    """An operator on numbers and on fake tensors; its result is where that of the fake ones is."""
    name = func._schema.name
    if name in OPERATORS:  # an operator of our own: its Python code, as a GPU runs it
        with torch._C._EnableTorchFunction(), _MakesTensors():
            return OPERATORS[name](*args, **kwargs)
    known: dict[int, Tensor] = {}

    def numbers(tensor: Tensor) -> Tensor:
        inner = tensor.numbers if isinstance(tensor, GPUTensor) else tensor
        known[id(inner)] = tensor
        return inner

    def result(made: Any, place: Any) -> Any:
        if not isinstance(made, Tensor):
            return made
        if id(made) in known:  # it was changed in place
            return known[id(made)]
        return GPUTensor(made) if place == GPU else made

    place = _places(func, args, kwargs)
    inner = tree_map_only(Tensor, numbers, (args, kwargs))
    on_cpu = {key: CPU if value == GPU else value for key, value in inner[1].items()}
    made = func(*inner[0], **on_cpu)
    if isinstance(made, (tuple, list)):
        places = place if isinstance(place, (tuple, list)) else [place] * len(made)
        return type(made)(map(result, made, places))
    return result(made, place)


def _places(func: OpOverload, args: tuple, kwargs: dict[str, Any]) -> Any:
    """The device of each result; raises as torch does where two devices meet."""
    _require_one_device(func._schema.name, args)
    if kwargs.get("device") == CPU and isinstance(args[0], GPUTensor):
        kwargs = {**kwargs, "device": GPU}  # autograd in C++ asks for the tensor's own device
    with _FAKES:
        args, kwargs = tree_map_only(Tensor, _fake, (args, kwargs))
        try:
            made = func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            return GPU
    return tree_map(lambda one: one.device if isinstance(one, FakeTensor) else None, made)


def _require_one_device(name: str, args: tuple) -> None:
    """Raise where fake tensors do not: lists of tensors, and values that are put into others."""
    if name.startswith(("aten::_foreach", "aten::_fused")):
        tensors = tree_leaves(args)
    elif name.startswith("aten::index_put"):
        tensors = [args[0], *(value for value in args[2:3] if value.dim())]
    else:
        return
    places = {isinstance(one, GPUTensor) for one in tensors if isinstance(one, Tensor)}
    if len(places) > 1:
        raise RuntimeError(f"{name}: not all tensors are on the same device")


def _fake(tensor: Tensor) -> Tensor:
    place = GPU if isinstance(tensor, GPUTensor) else CPU
    shape, stride = tensor.shape, tensor.stride()
    return torch.empty_strided(shape, stride, dtype=tensor.dtype, device=place)


def _place(value: Any) -> Any:
    """A device by its full name; anything else as it is."""
    if isinstance(value, str | torch.device) and str(value) in ("cuda", "cuda:0", "cpu"):
        return CPU if str(value) == "cpu" else GPU
    return value


_group = Optimizer._group_tensors_by_device_and_dtype


def _grouped(*arguments: Any) -> Any:
    """An optimiser's tensors by device, which it asks C++ for."""
    groups = _group(*arguments)
    return {(lists[0][0][0].device, dtype): lists for (_, dtype), lists in groups.items()}


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Inside, this machine has one GPU."""
    with (
        patch.object(torch.cuda, "is_available", lambda: True),
        patch.object(torch.cuda, "device_count", lambda: 1),
        patch.object(torch.cuda, "mem_get_info", lambda device=None: (FREE_BYTES, FREE_BYTES)),
        patch.object(torch.cuda, "get_device_capability", lambda device=None: (9, 0)),
        patch.object(torch.cuda, "get_device_name", lambda device=None: "pretended GPU"),
        patch.object(torch.cuda, "_lazy_init", lambda: None),
        patch.object(torch.cuda, "synchronize", lambda device=None: None),
        # a parameter that moves becomes a new one: `.data =` would leave it what it is to Python
        patch.object(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True),
        patch.object(Optimizer, "_group_tensors_by_device_and_dtype", staticmethod(_grouped)),
        _MakesTensors(),
        _CompletesNames(),
    ):
        yield
