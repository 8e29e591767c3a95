"""Vectors of the model's size that are alive at once: counted and listed, operation by operation, while a step runs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SILENT = ("ofmu.core.vector", "ofmu.core.foreach", __name__)
"""Modules that make tensors for others: the caller is what a list should name."""


@dataclass(frozen=True)
class Peak:
    """The moment at which most was alive.

    Args:
        vectors: storage of the shapes of the parameters, in units of all parameters; a fraction is of temporaries of
            single tensors.
        made_by: function that made it → vectors of it; the parameters are `weights`.
    """

    vectors: float
    made_by: dict[str, float]


def peak_vectors(parameters: Mapping[str, Tensor], start: Callable[[], Callable[[], Any]], *, before: int = 2) -> Peak:
    """Count the storages shaped like parameters that a step holds at its peak.

    Args:
        parameters: name → tensor; what has the shape of one of them counts, so activations must not have.
        start: makes the step, and whatever it keeps from one time to the next.
        before: steps taken before the one that is looked at.
    """
    with _Count(parameters) as count:
        step = start()
        for _ in range(before):
            step()
        count.most = 0
        step()
    return Peak(count.most / count.whole, {name: n / count.whole for name, n in count.at_most.most_common()})


class _Count(TorchDispatchMode):
    def __init__(self, parameters: Mapping[str, Tensor]):
        super().__init__()
        self._shapes = {tuple(p.shape) for p in parameters.values()}
        self._alive: dict[int, tuple[StorageWeakRef, int, str]] = {}
        self.whole = sum(p.numel() * p.element_size() for p in parameters.values())
        self.most = 0
        self.at_most: Counter[str] = Counter()
        for p in parameters.values():
            self._note(p, "weights")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        new = [self._note(x, None) for x in tree_leaves(out) if isinstance(x, Tensor)]
        if any(new):
            self._look()
        return out

    def _note(self, x: Tensor, maker: str | None) -> bool:
        """Whether this is storage not seen before that has the shape of a parameter."""
        if tuple(x.shape) not in self._shapes:
            return False
        storage = x.untyped_storage()
        known = self._alive.get(storage._cdata)
        if known is not None and not known[0].expired():
            return False
        self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes(), maker or _maker())
        return True

    def _look(self) -> None:
        self._alive = {key: found for key, found in self._alive.items() if not found[0].expired()}
        total = sum(size for _, size, _ in self._alive.values())
        if total > self.most:
            self.most, self.at_most = total, Counter()
            for _, size, maker in self._alive.values():
                self.at_most[maker] += size


def _maker() -> str:
    """The innermost function of this package that speaks for itself."""
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith("ofmu.") and module not in SILENT:
            return f"{module.removeprefix('ofmu.')}.{frame.f_code.co_qualname.split('.<locals>')[0]}"
        frame = frame.f_back
    return "torch"
