"""The ResNet of He et al. (2016) for CIFAR: basic blocks, shortcuts without parameters (option A).

Names of the weights are those of the published CIFAR checkpoints (``conv1``, ``bn1``, ``layer1.0.conv1`` …
``linear``), so that their state dict loads as it is. Importing this module makes the type known to the Auto
classes.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", §4.2. **Differs**: none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

BLOCK_CONV = re.compile(r"layer(\d+)\.(\d+)\.conv1\.weight")


class CifarResNetConfig(PreTrainedConfig):
    """Shape of a CIFAR ResNet; depth = 6n + 2 for n blocks a stage (3: ResNet-20).

    Args:
        depths: basic blocks of each stage, each ≥ 1.
        widths: channels of each stage, not falling.
        num_channels: of the images.
        image_size: side that images are resized to by the saved processor, pixels.
        classes: number of classes; ``num_labels`` or ``id2label``, if given, count more.
    """

    model_type = "ofmu_cifar_resnet"

    def __init__(
        self,
        depths: Sequence[int] = (3, 3, 3),
        widths: Sequence[int] = (16, 32, 64),
        num_channels: int = 3,
        image_size: int = 32,
        classes: int = 10,
        **kwargs: Any,
    ) -> None:
        self.depths = list(depths)
        self.widths = list(widths)
        self.num_channels = num_channels
        self.image_size = image_size
        if kwargs.get("id2label") is None:
            kwargs.setdefault("num_labels", classes)
        super().__init__(**kwargs)
        self.classes = self.num_labels  # two labels are the library's default, which it does not write to the file


class BasicBlock(nn.Module):
    """y = relu(bn2(conv2(relu(bn1(conv1 x)))) + shortcut(x)), all convolutions 3 × 3."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.added = width - width_in

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H/stride, W/stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        front = self.added // 2  # new channels are zero, half before and half behind the old ones
        return F.pad(x, (0, 0, 0, 0, front, self.added - front)) if self.added else x


class CifarResNetForImageClassification(PreTrainedModel):
    """A CIFAR ResNet with its linear head; see the module's text."""

    config_class = CifarResNetConfig
    main_input_name = "pixel_values"
    _no_split_modules = ["BasicBlock"]  # noqa: RUF012 (a class attribute of the base class)

    def __init__(self, config: CifarResNetConfig) -> None:
        super().__init__(config)
        self.conv1 = nn.Conv2d(config.num_channels, config.widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.widths[0])
        self.stages = [f"layer{i + 1}" for i in range(len(config.depths))]
        width_in = config.widths[0]
        for i, (name, depth, width) in enumerate(zip(self.stages, config.depths, config.widths, strict=True)):
            strides = [1 if i == 0 else 2] + [1] * (depth - 1)
            blocks = [BasicBlock(width_in if j == 0 else width, width, s) for j, s in enumerate(strides)]
            self.add_module(name, nn.Sequential(*blocks))
            width_in = width
        self.linear = nn.Linear(width_in, cast("int", config.num_labels))
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> ImageClassifierOutputWithNoAttention:
        """(B, C, H, W) → logits (B, classes); with ``labels`` (B,) also the mean cross-entropy in nats."""
        x = F.relu(self.bn1(self.conv1(pixel_values)))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits = self.linear(x.mean(dim=(2, 3)))
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> CifarResNetConfig | None:
    """The configuration whose state dict has exactly these names and shapes, or None.

    Depths, widths, channels and classes are read from the shapes; the result is then checked by building the
    model, so a checkpoint with other shortcuts or another head is not taken for one of ours.
    """
    depths: dict[int, int] = {}
    widths: dict[int, int] = {}
    for name, shape in shapes.items():
        if match := BLOCK_CONV.fullmatch(name):
            stage = int(match[1])
            depths[stage] = max(depths.get(stage, 0), int(match[2]) + 1)
            widths[stage] = shape[0]
    stages = sorted(depths)
    stem, head = shapes.get("conv1.weight"), shapes.get("linear.weight")
    if stages != list(range(1, len(stages) + 1)) or not stages or stem is None or head is None:
        return None
    config = CifarResNetConfig(
        [depths[i] for i in stages],
        [widths[i] for i in stages],
        stem[1] if len(stem) == 4 else 0,
        num_labels=head[0],
    )
    with torch.device("meta"):
        expected = CifarResNetForImageClassification(config).state_dict()
    counters = {name for name in expected if name.endswith("num_batches_tracked")}  # old checkpoints lack them
    same = all(tuple(expected[name].shape) == shape for name, shape in shapes.items() if name in expected)
    return config if same and set(shapes) | counters == set(expected) else None


AutoConfig.register(CifarResNetConfig.model_type, CifarResNetConfig, exist_ok=True)
AutoModelForImageClassification.register(CifarResNetConfig, CifarResNetForImageClassification, exist_ok=True)
