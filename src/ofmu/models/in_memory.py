"""Taking a model that the caller passes as an object, and being able to give it back as it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ofmu.errors import InputError
from ofmu.models.adapters import is_adapted
from ofmu.models.convnet import ConvNetConfig
from ofmu.models.folders import context_of, default_processor, modality_of, switch_cache_off
from ofmu.models.hidden import head_of
from ofmu.models.keeping import Keep
from ofmu.models.loaded import Loaded, Modality
from ofmu.models.resnet import CifarResNetConfig
from ofmu.models.sources import HUB_NAME
from ofmu.models.weights import fingerprint, main_dtype, to_float32


def load_in_memory(model: nn.Module, modality: Modality | None) -> Loaded:
    """Prepare a model in place: float32 weights, evaluation mode, no gradients; ``Loaded.keep`` undoes it.

    Which parameters are trained stays as the caller set it. The number types change inside the same Parameter
    objects, so an optimiser that the caller holds keeps working afterwards.

    Raises:
        InputError: quantised weights, nothing to train, or a model of another kind.
    """
    name = type(model).__name__
    adapted = is_adapted(model)
    inner: Any = model
    base = inner.get_base_model() if adapted else model
    if isinstance(base, PreTrainedModel):
        name = type(base).__name__
        found = modality_of(_config_with_class(base), name, modality)
    elif modality == "text":
        raise InputError(f"{name} is no PreTrainedModel; a language model in memory must be one")
    else:
        found = "image"
    _refuse(model, name)
    keep = Keep(model)
    keep.release_gradients()
    dtypes = keep.dtypes
    to_float32(model)
    model.eval()
    config: Any = base.config if isinstance(base, PreTrainedModel) else None
    processor, notes = None, ()
    if isinstance(config, CifarResNetConfig | ConvNetConfig):
        processor, notes = default_processor(config, name)
    return Loaded(
        model=model,
        tokenizer=None,
        processor=processor,
        modality=found,
        dtype=main_dtype(dtypes),
        name=name,
        fingerprint=fingerprint(model),
        adapter=adapted,
        in_memory=True,
        context=context_of(base) if found == "text" else None,
        num_classes=None if found == "text" else config.num_labels if config is not None else _classes(model),
        origin=_origin(base),
        dtypes=dtypes,
        came_as_adapter=adapted,
        use_cache=switch_cache_off(base) if isinstance(base, PreTrainedModel) else None,
        keep=keep,
        notes=notes,
    )


def _refuse(model: nn.Module, name: str) -> None:
    parameters = list(model.parameters())
    strange = next((p.dtype for p in parameters if not p.is_floating_point()), None)
    if strange is not None:
        raise InputError(f"{name} has weights of type {strange}: unlearning needs them in floating point")
    if any(p.is_meta for p in parameters):
        raise InputError(f"{name} has weights without values (device meta): load them first")
    if not any(p.requires_grad for p in parameters):
        raise InputError(f"{name} has no parameter with requires_grad: nothing can be unlearned")


def _config_with_class(model: PreTrainedModel) -> Any:
    """The configuration, with the class of the object instead of what the file said it was."""
    config = type(model.config).from_dict(model.config.to_dict())
    config.architectures = [type(model).__name__]
    return config


def _origin(model: nn.Module) -> str | None:
    if not isinstance(model, PreTrainedModel) or not model.name_or_path:
        return None
    path = Path(model.name_or_path)
    if path.is_dir():
        return str(path.resolve())
    return model.name_or_path if HUB_NAME.fullmatch(model.name_or_path) else None


def _classes(model: nn.Module) -> int | None:
    """Classes of a plain classifier: the outputs of its last layer, if that is a linear one."""
    layers = [module for module in model.modules() if module._parameters]
    head = head_of(model)
    return head.out_features if isinstance(head, nn.Linear) and layers and layers[-1] is head else None
