"""What a model takes and gives, as plain tensors of dtypes that .npy files hold.

A model may take its inputs as torch.export does: positional or keyword arguments, nested in lists and dicts, with
Python scalars among them, which are constants of the exported program. bfloat16, which no .npy file holds, is float32
in files, without loss: it is converted at the edges of the exported program.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from typing import Any

import numpy
import torch
from torch.utils import _pytree

WIDENED = {torch.bfloat16: torch.float32}
"""Dtypes that .npy files lack -> one that holds all their values."""
SCALARS = (bool, int, float, complex, str, type(None))


class InterfaceFault(Exception):
    """What inputs() or the model gives has no meaning here."""


class Call(torch.nn.Module):
    """A model, called with tensors alone: `tensors` are the inputs, as they are saved and exported. The call of a
    `plain` one is the model's own."""

    def __init__(self, model: torch.nn.Module, given: object) -> None:
        """`given` is what inputs() gave: a tensor or a scalar, a tuple or list of arguments, or a dict of keyword
        arguments. Raises InterfaceFault."""
        super().__init__()
        self.model = model
        args, kwargs = (), {}
        if isinstance(given, dict):
            kwargs = given
        else:
            args = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        self.count, self.names = len(args), list(kwargs)
        self.nested = any(isinstance(value, (tuple, list, dict)) for value in (*args, *kwargs.values()))
        self.leaves, self.spec = _pytree.tree_flatten((args, kwargs))
        self.places = [number for number, leaf in enumerate(self.leaves) if isinstance(leaf, torch.Tensor)]
        for number, leaf in enumerate(self.leaves):
            if not isinstance(leaf, (torch.Tensor, *SCALARS)):
                raise InterfaceFault(f"inputs() gave {kind(leaf)} at place {number}, expected a tensor or a number")
        given_tensors = [self.leaves[number] for number in self.places]
        require_held(given_tensors, "inputs()")
        self.dtypes = [tensor.dtype for tensor in given_tensors]
        self.tensors = tuple(tensor.to(WIDENED.get(tensor.dtype, tensor.dtype)) for tensor in given_tensors)
        bare = not (kwargs or self.nested) and len(self.places) == len(self.leaves)
        self.plain = bare and not any(dtype in WIDENED for dtype in self.dtypes)
        self.eval()

    def forward(self, *tensors: torch.Tensor) -> object:
        outputs = self.given(tensors)
        return _pytree.tree_map(
            lambda leaf: leaf.to(WIDENED.get(leaf.dtype, leaf.dtype)) if isinstance(leaf, torch.Tensor) else leaf,
            outputs,
        )

    def given(self, tensors: Iterable[torch.Tensor]) -> object:
        """What the model itself gives for these inputs."""
        leaves = list(self.leaves)
        for number, tensor in enumerate(tensors):
            leaves[self.places[number]] = tensor.to(self.dtypes[number])
        if self.nested:
            args, kwargs = _pytree.tree_unflatten(leaves, self.spec)
            return self.model(*args, **kwargs)
        return self.model(*leaves[: self.count], **dict(zip(self.names, leaves[self.count :])))  # noqa: B905 - Python 3.9

    def shapes(self, dynamic: object) -> dict[str, Any]:
        """`dynamic_shapes()` of the model's own arguments, for the arguments of this call."""
        args, kwargs = _pytree.tree_unflatten(self.leaves, self.spec)
        try:
            if isinstance(dynamic, dict):
                bound = inspect.signature(self.model.forward).bind(*args, **kwargs).arguments
                by_name = {name: dynamic.get(name) for name in bound}
                rows = tuple(by_name.values())[: len(args)], {name: by_name[name] for name in kwargs}
            else:
                rows = tuple(dynamic), {}  # type: ignore[arg-type]
            leaves = self.spec.flatten_up_to(rows)
        except (TypeError, ValueError, KeyError) as error:
            raise InterfaceFault(f"dynamic_shapes() does not fit inputs(): {error}") from None
        return {"tensors": tuple(leaves[place] for place in self.places)}


def require_held(tensors: Iterable[object], owner: str) -> None:
    """Only tensors, of dtypes that files can hold. Raises InterfaceFault."""
    for number, value in enumerate(tensors):
        if not isinstance(value, torch.Tensor):
            raise InterfaceFault(f"{owner} gave {kind(value)} at place {number}, expected a tensor")
        try:
            torch.empty(0, dtype=WIDENED.get(value.dtype, value.dtype)).numpy()
        except TypeError:
            raise InterfaceFault(
                f"{owner} gave a tensor of {value.dtype} at place {number}, expected a dtype that .npy files hold: "
                "convert it inside the model"
            ) from None


def kind(value: object) -> str:
    return f"an object of type {type(value).__name__}"


def changed(tensor: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Other values of the range of these, so that an index stays one. Fractions change places and shrink by up to a
    half; whole numbers are reflected between the smallest and the largest."""
    if tensor.dtype == torch.bool:
        return ~tensor
    if tensor.is_floating_point() or tensor.is_complex():
        part = torch.rand(tensor.shape, generator=draw)
        if not bool((tensor != 0).any()):
            return part.to(tensor.dtype)
        order = torch.randperm(tensor.numel(), generator=draw)
        return tensor.flatten()[order].view(tensor.shape) * (part / 2 + 0.5).to(tensor.dtype)
    if not tensor.numel():
        return tensor.clone()
    low, high = tensor.min(), tensor.max()
    if low < high:
        return low + high - tensor
    return tensor // 2 if bool(low != 0) else torch.ones_like(tensor)


def as_array(tensor: torch.Tensor) -> numpy.ndarray:
    return tensor.detach().to(WIDENED.get(tensor.dtype, tensor.dtype)).contiguous().numpy()


def save(place: str, name: str, tensors: Iterable[torch.Tensor], dtypes: list[torch.dtype]) -> list[dict[str, Any]]:
    """Writes `name_0.npy`, `name_1.npy`, ... and says what is in them; `dtypes` are those of the model."""
    entries = []
    for number, tensor in enumerate(tensors):
        file = f"{name}_{number}.npy"
        numpy.save(os.path.join(place, file), as_array(tensor))
        entries.append({"name": file, "dtype": str(dtypes[number]).partition(".")[2], "shape": list(tensor.shape)})
    return entries
