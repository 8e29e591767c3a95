"""Remembering how a model in memory came in, so that it can go back the same way."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class Keep:
    """What a model is besides its values: modes, ``requires_grad``, gradients, number types, devices, hooks.

    Nothing of the weights' values is kept: unlearning changes them, and that is wanted. Everything is
    remembered by object and not by name, so it survives a wrapper put around the model or an adapter put into
    it. Usable as a context manager; :meth:`restore` may be called more than once. A model that was sharded by
    FSDP2 has other parameter objects and cannot be brought back so: save it instead.

    Args:
        model: any torch module, in the state that is to be found again.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._modes = [(module, module.training) for module in model.modules()]
        self._parameters = [
            (parameter, parameter.requires_grad, parameter.grad, parameter.dtype, parameter.device)
            for parameter in model.parameters()
        ]
        self._buffers = [
            (module, name, buffer.dtype, buffer.device)
            for module in model.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        self._hooks = [(module, set(module._forward_hooks)) for module in model.modules()]
        self._pretrained = next((m for m in model.modules() if isinstance(m, PreTrainedModel)), None)
        self._config = {} if self._pretrained is None else _config_state(self._pretrained)

    def release_gradients(self) -> None:
        """Take the gradients off (the parameters' type may be about to change); restore puts them back."""
        for parameter, *_ in self._parameters:
            parameter.grad = None

    def restore(self) -> nn.Module:
        """Put everything back but the values, and return the model that came in."""
        for parameter, requires_grad, gradient, dtype, device in self._parameters:
            parameter.grad = None
            parameter.data = parameter.data.to(device=device, dtype=dtype)
            parameter.requires_grad_(requires_grad)
            if gradient is not None:  # a cast of the model may have cast it too, inside the same object
                gradient.data = gradient.data.to(device=device, dtype=dtype)
            parameter.grad = gradient
        for module, name, dtype, device in self._buffers:
            buffer = module._buffers[name]
            if isinstance(buffer, Tensor):
                module._buffers[name] = buffer.to(device=device, dtype=dtype)
        for module, training in self._modes:
            module.training = training
        for module, hooks in self._hooks:  # transformers hooks the embeddings to recompute activations
            for added in set(module._forward_hooks) - hooks:
                del module._forward_hooks[added]
        if self._pretrained is not None:
            _restore_config(self._pretrained, self._config)
        return self.model

    @property
    def dtypes(self) -> dict[str, torch.dtype]:
        """Number types as they came in, by the names of the model's state."""
        by_object = {id(parameter): dtype for parameter, _, _, dtype, _ in self._parameters}
        found = {
            name: by_object[id(parameter)]
            for name, parameter in self.model.named_parameters(remove_duplicate=False)
            if id(parameter) in by_object
        }
        prefixes = {id(module): prefix for prefix, module in self.model.named_modules(remove_duplicate=False)}
        for module, name, dtype, _ in self._buffers:
            prefix = prefixes.get(id(module), "")
            found[f"{prefix}.{name}" if prefix else name] = dtype
        return found

    def __enter__(self) -> Keep:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


def _config_state(model: PreTrainedModel) -> dict[str, Any]:
    settings = vars(model.config.get_text_config())
    return {
        "settings": {key: settings[key] for key in ("use_cache", "dtype") if key in settings},
        "attention": model.config._attn_implementation,
        "checkpointing": [(module, vars(module).get("gradient_checkpointing")) for module in model.modules()],
    }


def _restore_config(model: PreTrainedModel, state: dict[str, Any]) -> None:
    vars(model.config.get_text_config()).update(state["settings"])
    if model.config._attn_implementation != state["attention"]:
        model.set_attn_implementation(state["attention"])
    for module in model.modules():  # what was no attribute of the object itself is the class's again
        vars(module).pop("gradient_checkpointing", None)
    for module, checkpointing in state["checkpointing"]:
        if checkpointing is None:  # the class says it
            vars(module).pop("gradient_checkpointing", None)
        else:
            module.gradient_checkpointing = checkpointing
