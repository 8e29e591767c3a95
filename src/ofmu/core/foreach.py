"""One kernel for several tensors: what torch keeps for its own optimisers, and how many tensors to give it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeGuard

from torch import (
    Tensor,
    _foreach_add_,  # pyright: ignore[reportPrivateImportUsage]
    _foreach_addcdiv_,  # pyright: ignore[reportPrivateImportUsage]
    _foreach_addcmul_,  # pyright: ignore[reportPrivateImportUsage]
    _foreach_lerp_,  # pyright: ignore[reportPrivateImportUsage]
    _foreach_mul_,  # pyright: ignore[reportPrivateImportUsage]
    _foreach_sqrt,  # pyright: ignore[reportPrivateImportUsage]
)

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

add_, mul_, lerp_ = _foreach_add_, _foreach_mul_, _foreach_lerp_
addcmul_, addcdiv_, sqrt = _foreach_addcmul_, _foreach_addcdiv_, _foreach_sqrt

BUNDLE: Final = 1 << 24
"""Elements of the tensors that one kernel works on: 64 MiB in float32."""


def is_sharded(x: Tensor) -> TypeGuard[DTensor]:
    """Whether a tensor lies in shards on several ranks.

    Without importing their class, which takes as long as torch itself: where nobody has, there are none.
    """
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def bundles(tensors: Mapping[str, Tensor], size: int = BUNDLE) -> Iterator[list[str]]:
    """Names to be worked on together, so that temporaries stay small and few kernels do much.

    One tensor at a time on the CPU and where tensors are sharded (a kernel of several takes no mixture); on an
    accelerator as many as have ``size`` elements together, one at least.

    >>> import torch
    >>> list(bundles({"a": torch.zeros(3), "b": torch.zeros(2)}))
    [['a'], ['b']]
    """
    held: list[str] = []
    count = 0
    for name, x in tensors.items():
        alone = x.device.type == "cpu" or is_sharded(x)
        if held and (alone or count + x.numel() > size or x.device != tensors[held[0]].device):
            yield held
            held, count = [], 0
        held.append(name)
        count = size if alone else count + x.numel()
    if held:
        yield held
