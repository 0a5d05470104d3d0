"""What a weights file holds: a model with its description, built from one without trusting it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from styleplugin.errors import WeightsError
from styleplugin.tensorfile import Weights, parsing_metadata, shortened

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S", bound="StyleModel")

MAX_PARAMETERS = 40_000_000
"""The largest model there is, the five teacher pairs, has 34 million."""
_NAMES_SHOWN = 5


class StyleModel(nn.Module):
    """The networks of a feed-forward method."""

    method: str
    """Name of the method that it is for."""
    architecture: ClassVar[str]
    """Id of what builds it from a file."""
    levels: tuple[int, ...]
    """Levels or transform points, deepest first."""
    min_side: int
    """Smallest picture side in pixels; reflection needs two cells of the deepest features."""
    encoder_ids: tuple[str, ...]
    """What a style must have been made with: `pairing_id` of the encoder of each stage."""
    points: tuple[tuple[int, ...], ...]
    """Channels at the transform points of each stage, in the order of a style code."""

    def describe(self) -> dict[str, Any]:
        """Return what a weights file says to rebuild the model, plain JSON data."""
        raise NotImplementedError


def build_single(weights: Weights, read_spec: Callable[[dict[str, Any]], Any], make: Callable[[Any], S]) -> S:
    """Build a model of one network and one spec, whose file says `spec` and `pairing`.

    Args:
        weights: The file.
        read_spec: From the JSON data of the spec.
        make: From the spec.

    Raises:
        WeightsError: SP307, SP310 or SP312, the file does not fit its own description.
    """
    where = weights.path.name
    with parsing_metadata(where):
        spec, pairing = read_spec(weights.metadata["spec"]), weights.metadata["pairing"]
    model = build_filled(lambda: make(spec), weights.tensors, where)
    check_pairing("decoder", model.encoder_ids[0], pairing, where)
    return model


def build_filled(build: Callable[[], M], tensors: Mapping[str, Tensor], where: str) -> M:
    """Build a network and fill it as `load_tensors` does; nothing of its size is made for a file that does not fit.

    Args:
        build: Makes the network; called for its shapes alone at first, without memory for its values.
        tensors: The state dict that the network shall have.
        where: Name of the file, for the message.

    Raises:
        WeightsError: SP310, tensors are missing, surplus or of the wrong shape.
    """
    with _Shapes():
        check_shapes(build().state_dict(), tensors, where)
    module = build()
    load_tensors(module, tensors, where)
    return module


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Fill a module with exactly its tensors, as float32; put it into evaluation mode and freeze it.

    Args:
        module: Any module.
        tensors: Its state dict, any floating-point type.
        where: Name of the file, for the message.

    Raises:
        WeightsError: SP310, tensors are missing, surplus or of the wrong shape; at most 5 names of each are shown.
    """
    check_shapes(module.state_dict(), tensors, where)
    module.load_state_dict({name: value.float() for name, value in tensors.items()})
    module.eval().requires_grad_(False)


def check_size(parameters: int, where: str) -> None:
    """Raise WeightsError SP311 for a network of more parameters than any model has."""
    if parameters > MAX_PARAMETERS:
        raise WeightsError(
            "SP311",
            f"{where} describes a network of {parameters} parameters; at most {MAX_PARAMETERS} are allowed.",
            "The file is damaged or not made for styleplugin.",
        )


def check_shapes(needed: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise WeightsError SP310 unless there are exactly the tensors that are needed, in their shapes."""
    problems = {
        "missing": [name for name in needed if name not in tensors],
        "surplus": [name for name in tensors if name not in needed],
        "of the wrong shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
            for name, value in needed.items()
            if name in tensors and tensors[name].shape != value.shape
        ],
    }
    if any(problems.values()):
        lists = "; ".join(f"{kind}: {_shorten(names)}" for kind, names in problems.items() if names)
        raise WeightsError(
            "SP310",
            f"{where} holds {len(tensors)} tensors where its network needs {len(needed)}; {lists}.",
            "The file belongs to another network.",
        )


def check_pairing(half: str, found: str, expected: Any, where: str) -> None:
    """Raise WeightsError SP312 if the half of a file was trained for another encoder than `found`."""
    if found != expected:
        raise WeightsError(
            "SP312",
            f"The {half} of {where} was trained for the encoder {shortened(expected)}, not for {found}.",
            "Use an encoder and a decoder of the same model; swapped halves give broken pictures.",
        )


def pairing_id(encoder: nn.Module) -> str:
    """Identify an encoder by its values, 16 hex digits; its decoder's file carries the same id.

    The values are rounded to float16 first, so that the half-precision copy of a pair keeps its id.
    """
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().to(torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class _Shapes(TorchFunctionMode):
    """Puts every tensor that is made on the meta device; `torch.device` only does where none is named."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "meta"} if "device" in kwargs else kwargs))


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
