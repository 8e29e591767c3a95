"""Which layers are hidden ones: neither embedding, nor head, nor the convolution that sees the pixels.

The step-size rule measures these, and LoRA adapts them. What is left out has another scale: an embedding row
is used by one token, a head has one row a class, and the first convolution has as few columns as the image
has channels.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.conv import _ConvNd
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


def hidden_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Linear layers and convolutions by name, in the order of definition, without head and first convolution.

    The head is the output embedding of a language model; otherwise the last linear layer, or the last
    convolution of a network that has no linear layer. If nothing else is left (a model of one layer), the
    head counts too.
    """
    layers = {name: module for name, module in model.named_modules() if _has_matrix(module)}
    head, stem = head_of(model), _stem(model)
    inner = {name: module for name, module in layers.items() if module is not head and module is not stem}
    return inner or layers


def head_of(model: nn.Module) -> nn.Module | None:
    """The layer that makes the logits, no adapter's; None if there is no linear layer and no convolution."""
    if isinstance(model, PreTrainedModel):
        output = model.get_output_embeddings()
        if output is not None:
            return output
    own = [module for name, module in model.named_modules() if "lora_" not in name]
    linear = [module for module in own if isinstance(module, nn.Linear | Conv1D)]
    convolutions = [module for module in own if isinstance(module, _ConvNd)]
    return linear[-1] if linear else convolutions[-1] if convolutions else None


def _stem(model: nn.Module) -> nn.Module | None:
    return next((module for module in model.modules() if isinstance(module, _ConvNd)), None)


def _has_matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D | _ConvNd)
