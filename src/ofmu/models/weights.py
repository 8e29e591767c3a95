"""What a model's weights are: their number types on disk and their fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ofmu.errors import InputError

SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def fingerprint(model: nn.Module) -> str:
    """sha256 over the state: names in sorted order, each with its number type, shape and bytes.

    Taken of the float32 master weights, so a model in memory and the same model read from a directory have
    the same fingerprint. Both names of a tied weight count. 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()  # a view: no copy of a large model


def header(file: Path) -> dict[str, tuple[torch.dtype | None, tuple[int, ...]]]:
    """Names of a safetensors file with number type (None: one that torch models do not train in) and shape.

    Raises:
        InputError: the file is cut or no safetensors file.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
            raise InputError(f"{file} is no safetensors file, or it is cut ({size:,} bytes)")
        try:
            table = json.loads(stream.read(length))
        except ValueError as error:
            raise InputError(f"{file} is no safetensors file: its header does not parse") from error
    table.pop("__metadata__", None)
    end = max((entry["data_offsets"][1] for entry in table.values()), default=0)
    if 8 + length + end > size:
        raise InputError(f"{file} is cut: {size:,} bytes of {8 + length + end:,}")
    return {name: (SAFETENSORS_DTYPES.get(entry["dtype"]), tuple(entry["shape"])) for name, entry in table.items()}


def stored_dtypes(files: Iterable[Path]) -> dict[str, torch.dtype]:
    """Number type of every tensor in these safetensors files, by name.

    Raises:
        InputError: a file cannot be read, or holds numbers that are no plain torch type (quantised weights).
    """
    found: dict[str, torch.dtype] = {}
    for file in files:
        for name, (dtype, _) in header(file).items():
            if dtype is None:
                raise InputError(f"{file}: {name} is stored in a quantised number type; floating point needed")
            found[name] = dtype
    return found


def main_dtype(dtypes: Mapping[str, torch.dtype], default: torch.dtype = torch.float32) -> torch.dtype:
    """The floating type that most tensors have; ``default`` if none is floating."""
    counts = Counter(dtype for dtype in dtypes.values() if dtype.is_floating_point)
    return counts.most_common(1)[0][0] if counts else default


def to_float32(model: nn.Module) -> None:
    """Make every floating parameter and buffer float32, in place; the Parameter objects stay the same."""
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None and parameter.is_floating_point():
                parameter.data = parameter.data.float()
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = buffer.float()
