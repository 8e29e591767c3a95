"""Sharding with FSDP2: the only file that knows it.

torch's own ``fully_shard`` on a device mesh. On the CPU Accelerate hands back DDP, or separate trainings,
without a word; so world size and parameter types are checked here. After a forward pass without a backward
one, FSDP2 leaves the root's parameters whole, and what is written into them then is lost: call
:func:`reshard` before editing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ofmu.errors import RunError


def make_mesh(device_type: str) -> DeviceMesh:
    """A mesh of one dimension over all processes.

    Args:
        device_type: "cpu" (gloo) or "cuda" (nccl).

    Raises:
        RunError: no process group, or one process only: nothing would be sharded.
    """
    world = dist.get_world_size() if dist.is_initialized() else 0
    if world < 2:
        raise RunError(f"sharding needs two processes or more in one group, found {world}: start with torchrun")
    return init_device_mesh(device_type, (world,))


def shard(model: nn.Module, mesh: DeviceMesh, *, precision: torch.dtype | None = None) -> nn.Module:
    """Shard every block and the rest, in place; the parameters become DTensors, the objects are new ones.

    Blocks are the classes that the model says must not be split (``_no_split_modules``), else the entries of
    its module lists. Tied weights stay tied. Optimisers must be made afterwards.

    Args:
        model: on the mesh's device; every rank has the same weights.
        mesh: from :func:`make_mesh`.
        precision: type of the gathered weights in forward and backward (bfloat16), whose gradients are then
            reduced in float32; None: the parameters' own type, for both. Shards keep their type.

    Returns:
        The same model. RunError if a parameter was not sharded, or over another number of processes.
    """
    policy = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=None if precision is None else torch.float32)
    for block in blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    check_sharded(model, mesh)
    return model


def blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated parts that are gathered one at a time; outermost ones only."""
    names: set[str] = set()
    for module in model.modules():
        names |= set(vars(type(module)).get("_no_split_modules") or ())
        names |= set(vars(module).get("_no_split_modules") or ())
    found = [module for module in model.modules() if type(module).__name__ in names]
    if not found:
        found = [child for module in model.modules() if isinstance(module, nn.ModuleList) for child in module]
    inside = {id(inner) for module in found for inner in module.modules() if inner is not module}
    return [module for module in found if id(module) not in inside and any(True for _ in module.parameters())]


def check_sharded(model: nn.Module, mesh: DeviceMesh) -> None:
    """Raise unless every parameter is a DTensor on this mesh.

    Raises:
        RunError: names the parameter.
    """
    if mesh.size() != dist.get_world_size():
        raise RunError(f"the mesh has {mesh.size()} processes, the group {dist.get_world_size()}")
    for name, parameter in model.named_parameters():
        if not isinstance(parameter, DTensor) or parameter.device_mesh.size() != mesh.size():
            raise RunError(f"{name} was not sharded (it is a {type(parameter).__name__})")


def is_sharded(model: nn.Module) -> bool:
    """True if :func:`shard` was applied to the model."""
    return isinstance(model, FSDPModule)


def reshard(model: nn.Module) -> None:
    """Free every gathered parameter, so that editing one edits its shards; nothing on a plain model."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def full_state(model: nn.Module, *, all_ranks: bool = False) -> dict[str, Tensor]:
    """The whole state on the CPU, with the plain model's names; every rank must call this.

    Args:
        model: sharded or plain.
        all_ranks: give it to every rank; otherwise rank 0 gets it and the others an empty dict.

    Returns:
        Copies; the names of tied weights share one tensor.
    """
    reshard(model)
    wanted = all_ranks or not dist.is_initialized() or dist.get_rank() == 0
    gathered: dict[int, Tensor] = {}
    result: dict[str, Tensor] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in gathered:
            whole = value.full_tensor() if isinstance(value, DTensor) else value  # a collective call: all ranks
            gathered[id(value)] = whole.detach().to("cpu", copy=True) if wanted else torch.empty(0)
        if wanted:
            result[name] = gathered[id(value)]
    return result


@torch.no_grad()
def load_full_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Write a whole state into a sharded (or plain) model; every rank must call this.

    Args:
        model: sharded or plain.
        state: by the plain model's names; rank 0's values count, but each rank needs tensors of the same
            shapes, or an empty mapping.

    Raises:
        RunError: a name is missing on rank 0.
    """
    reshard(model)
    leader = not dist.is_initialized() or dist.get_rank() == 0
    for name, target in model.state_dict(keep_vars=True).items():
        if leader and name not in state:
            raise RunError(f"the state lacks {name}")
        value = state[name] if name in state else torch.empty(target.shape, dtype=target.dtype)
        value = value.to(target.device, target.dtype)
        if isinstance(target, DTensor):
            target.copy_(distribute_tensor(value, target.device_mesh, target.placements))
        elif is_sharded(model):
            value = value.contiguous()
            dist.broadcast(value, src=0)
            target.copy_(value)
        else:
            target.copy_(value)


def distribute_like(value: Tensor, parameter: Any) -> Tensor:
    """A whole tensor, the same on every rank, sharded as a parameter is; unchanged for a plain parameter."""
    if not isinstance(parameter, DTensor):
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)


def synchronise_gradients(model: nn.Module, last: bool) -> None:
    """Whether the next backward pass reduces gradients over processes; only the last part of a batch does."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)


def gather(tree: Any) -> Any:
    """A nested state with every tensor whole and on the CPU; every rank must call this."""
    if isinstance(tree, Mapping):
        return {key: gather(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(gather(value) for value in tree)
    if isinstance(tree, DTensor):
        return tree.full_tensor().detach().to("cpu", copy=True)
    return tree.detach().to("cpu", copy=True) if isinstance(tree, Tensor) else tree


def scatter(tree: Any, parameters: Mapping[str, Tensor], like: Tensor | None = None) -> Any:
    """Undo :func:`gather`: below a parameter's name, tensors of its shape lie where and as it lies.

    Args:
        tree: a nested state, whole.
        parameters: by name, placed.
        like: the parameter whose name stood above.
    """
    if isinstance(tree, Mapping):
        return {key: scatter(value, parameters, parameters.get(key, like)) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(scatter(value, parameters, like) for value in tree)
    if isinstance(tree, Tensor) and like is not None and tree.shape == like.shape:
        return distribute_like(tree.to(like.device), like)
    return tree
