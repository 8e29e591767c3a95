"""A small convolutional classifier without batch norm, for images of any channel count (handwritten digits).

Without batch norm an example's output does not depend on its batch, so a gradient over several batches is the
sum of theirs. Importing this module makes the type known to the Auto classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention


class ConvNetConfig(PreTrainedConfig):
    """Shape of the small classifier.

    Args:
        num_channels: of the images (1: grey).
        image_size: side of the square images in pixels, even and ≥ 4; the saved processor resizes to it.
        widths: channels of the two convolutions.
        hidden_size: width of the linear layer before the head.
        classes: number of classes; ``num_labels`` or ``id2label``, if given, count more.
    """

    model_type = "ofmu_convnet"

    def __init__(
        self,
        num_channels: int = 1,
        image_size: int = 8,
        widths: Sequence[int] = (32, 64),
        hidden_size: int = 128,
        classes: int = 10,
        **kwargs: Any,
    ) -> None:
        self.num_channels = num_channels
        self.image_size = image_size
        self.widths = list(widths)
        self.hidden_size = hidden_size
        if kwargs.get("id2label") is None:
            kwargs.setdefault("num_labels", classes)
        super().__init__(**kwargs)
        self.classes = self.num_labels  # two labels are the library's default, which it does not write to the file


class ConvNetForImageClassification(PreTrainedModel):
    """conv 3 × 3 – ReLU – conv 3 × 3 – ReLU – 2 × 2 maximum – linear – ReLU – linear."""

    config_class = ConvNetConfig
    main_input_name = "pixel_values"

    def __init__(self, config: ConvNetConfig) -> None:
        super().__init__(config)
        first, second = config.widths
        side = config.image_size // 2
        self.conv1 = nn.Conv2d(config.num_channels, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.hidden = nn.Linear(second * side * side, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, cast("int", config.num_labels))
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> ImageClassifierOutputWithNoAttention:
        """(B, C, H, W) → logits (B, classes); with ``labels`` (B,) also the mean cross-entropy in nats."""
        x = F.relu(self.conv1(pixel_values))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.hidden(x.flatten(1)))
        logits = self.classifier(x)
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


AutoConfig.register(ConvNetConfig.model_type, ConvNetConfig, exist_ok=True)
AutoModelForImageClassification.register(ConvNetConfig, ConvNetForImageClassification, exist_ok=True)
