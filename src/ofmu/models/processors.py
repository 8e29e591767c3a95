"""From pixels to a classifier's input: an image processor and the constants that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoImageProcessor, ViTImageProcessorPil

from ofmu.models.quiet import quiet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BILINEAR = 2  # Pillow's number for it


@dataclass(frozen=True)
class ImageProcessor:
    """An image processor, and the constants that say what it does: (x/255 − mean) / std, resized to size.

    Args:
        hf: the Hugging Face processor (Pillow back-end, no torchvision).
        mean: of each channel, for pixels scaled to 0 … 1.
        std: likewise.
        size: (height, width) that images are resized to; None: they stay as they are.
        plain: True if mean, std and a bilinear resize to size say all that it does; False if it also crops,
            pads or keeps the aspect ratio: then use the processor itself, by calling it.
    """

    hf: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    plain: bool

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """Uint8 [n, H, W, C] → float32 [n, C, H', W'], by the Hugging Face processor."""
        output = self.hf(list(pixels), input_data_format="channels_last", return_tensors="np")
        return torch.from_numpy(np.ascontiguousarray(output["pixel_values"], dtype=np.float32))

    def save(self, directory: Path) -> None:
        """Write preprocessor_config.json, readable by AutoImageProcessor on any machine."""
        self.hf.save_pretrained(directory)


def make_processor(mean: Sequence[float], std: Sequence[float], size: tuple[int, int] | None) -> ImageProcessor:
    """A processor from its constants, for the classifiers of this package.

    It is a ViTImageProcessor, which does exactly this and nothing else; so the saved file needs no code of
    ours. An image that already has the size is not touched by the resize.
    """
    options: dict[str, Any] = {
        "do_resize": size is not None,
        "image_mean": list(mean),
        "image_std": list(std),
    }
    if size is not None:
        options["size"] = {"height": size[0], "width": size[1]}
    return describe(ViTImageProcessorPil(**options))


def read_processor(folder: Path, *, trust_remote_code: bool = False) -> ImageProcessor:
    """The processor saved in a folder, in its Pillow form (the same pixels with or without torchvision)."""
    with quiet():
        hf = AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=trust_remote_code, local_files_only=True
        )
    return describe(hf)


def describe(hf: Any) -> ImageProcessor:
    """Read the constants of a Hugging Face image processor."""
    settings: dict[str, Any] = hf.to_dict()
    factor = 255 * settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 255.0
    normalise = settings.get("do_normalize", True)
    mean = _channels(settings.get("image_mean") if normalise else None, 0.0)
    std = _channels(settings.get("image_std") if normalise else None, 1.0)
    size = settings.get("size") or {}
    resize = bool(settings.get("do_resize")) and bool(size)
    exact = {"height", "width"} <= {key for key, value in dict(size).items() if value is not None}
    other = any(settings.get(key) for key in ("do_center_crop", "do_pad")) or settings.get("crop_pct") is not None
    return ImageProcessor(
        hf=hf,
        mean=tuple(value / factor for value in mean),
        std=tuple(value / factor for value in std),
        size=(int(size["height"]), int(size["width"])) if resize and exact else None,
        plain=not other and (not resize or (exact and settings.get("resample", BILINEAR) == BILINEAR)),
    )


def _channels(values: Any, default: float) -> list[float]:
    if values is None:
        return [default]
    return [float(value) for value in values] if isinstance(values, list | tuple) else [float(values)]
