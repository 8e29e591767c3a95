"""Images become batches; a transform is any callable, the one here needs Pillow and NumPy only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ofmu.data.examples import ImageExamples, Modality
from ofmu.data.tokens import batch_weights
from ofmu.errors import InputError

Transform = Callable[[np.ndarray], Tensor]
"""uint8 [n, H, W, C], values 0 … 255 → float32 [n, C, H′, W′]."""


@dataclass(frozen=True)
class Normalise:
    """x ↦ (x/255 − mean)/std for each channel, resized first if a size is given.

    Args:
        mean: one value a channel of the model, in 0 … 1.
        std: one value a channel, > 0.
        size: (height, width) or the side of a square, in pixels; None keeps the size. Bilinear, smoothed
            when it shrinks, as Pillow does it.

    A grey image becomes three equal channels where the model has three; a colour image becomes grey (ITU-R
    601-2 luma, Pillow's ``L``) where it has one.

    >>> Normalise((0.5,), (0.25,))(np.full((1, 1, 1, 1), 255, dtype=np.uint8)).item()
    2.0
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise InputError(f"mean has {len(self.mean)} values and std {len(self.std)}; both need 1 or both 3")
        if min(self.std) <= 0:
            raise InputError(f"std is {self.std}, but must be > 0")

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """uint8 [n, H, W, C] → float32 [n, C′, H′, W′] with C′ = len(mean)."""
        pixels = self._resized(self._coloured(pixels))
        scaled = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 3, 1))).to(torch.float32).div_(255)
        mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (self.mean, self.std))
        return scaled.sub_(mean).div_(std)

    def _coloured(self, pixels: np.ndarray) -> np.ndarray:
        if pixels.shape[3] == len(self.mean):
            return pixels
        if pixels.shape[3] == 1:
            return np.repeat(pixels, len(self.mean), axis=3)
        return np.stack([np.asarray(Image.fromarray(image).convert("L"))[:, :, None] for image in pixels])

    def _resized(self, pixels: np.ndarray) -> np.ndarray:
        if self.size is None:
            return pixels
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        if pixels.shape[1:3] == (height, width):
            return pixels
        bilinear = Image.Resampling.BILINEAR
        images = [Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image) for image in pixels]
        sized = [np.asarray(image.resize((width, height), bilinear)) for image in images]
        return np.stack(sized).reshape(len(sized), height, width, pixels.shape[3])


@dataclass(frozen=True)
class ImageBatch:
    """B images: ``pixel_values`` (B, C, H, W) float32, ``labels`` (B,) int64, ``weight`` (B,) float32."""

    ids: tuple[str, ...]
    pixel_values: Tensor
    labels: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> ImageBatch:
        """The same batch on a device."""
        return replace(
            self,
            pixel_values=self.pixel_values.to(device),
            labels=self.labels.to(device),
            weight=self.weight.to(device),
        )


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with the transform that their batches go through; an image counts as one scored token."""

    examples: ImageExamples
    transform: Transform | None
    cut: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    modality: ClassVar[Modality] = "image"

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def ids(self) -> tuple[str, ...]:
        """The images' ids."""
        return self.examples.ids

    @property
    def clusters(self) -> tuple[str, ...]:
        """The images' clusters."""
        return self.examples.clusters

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 (n,), all 1."""
        return np.ones(len(self), dtype=np.int64)

    @property
    def counts(self) -> np.ndarray:
        """int64 (n,), all 1."""
        return self.lengths

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of the images and of what the transform makes of the first one."""
        first = self._values([0]).numpy() if len(self) else np.zeros(0, dtype=np.float32)
        digest = hashlib.sha256(self.examples.fingerprint.encode())
        digest.update(f"{first.shape}".encode())
        digest.update(np.ascontiguousarray(first).data)
        return digest.hexdigest()

    def batch(self, indices: Sequence[int], weights: Sequence[float] | Tensor | None = None) -> ImageBatch:
        """Images as one batch.

        Args:
            indices: B positions 0 … n−1; one may come twice.
            weights: (B,); None: ones.
        """
        where = np.asarray(indices, dtype=np.int64)
        return ImageBatch(
            ids=tuple(self.ids[index] for index in indices),
            pixel_values=self._values(indices),
            labels=torch.from_numpy(self.examples.labels[where]),
            weight=batch_weights(len(indices), weights),
        )

    def take(self, indices: Sequence[int]) -> ImageSet:
        """The images at these positions, in this order."""
        return replace(self, examples=self.examples.take(indices))

    def _values(self, indices: Sequence[int]) -> Tensor:
        pixels = self.examples.pixels
        if isinstance(pixels, np.ndarray):
            return _transformed(pixels[np.asarray(indices, dtype=np.int64)], self.transform)
        return torch.cat([_transformed(pixels[index][None], self.transform) for index in indices])


def encode_images(examples: ImageExamples, transform: Transform | None, *, num_classes: int | None = None) -> ImageSet:
    """Images ready for batches; the transform is applied batch by batch, so no second copy is kept.

    Args:
        examples: images. Floats that their owner prepared go through no transform.
        transform: uint8 [n, H, W, C] → float32 [n, C, H, W]; None: x/255.
        num_classes: the classifier's classes; None: labels are not checked.

    Raises:
        InputError: for a label outside the classifier's range, and for images of different sizes that the
            transform does not bring to one.
    """
    if num_classes is not None and len(examples) and int(examples.labels.max()) >= num_classes:
        bad = np.flatnonzero(examples.labels >= num_classes)
        first = f"{examples.labels[bad[0]]} (id '{examples.ids[bad[0]]}')"
        what = f"{len(bad)} labels are" if len(bad) > 1 else f"the label {first} is"
        hint = f", the first is {first}" if len(bad) > 1 else ""
        raise InputError(f"{examples.source}: {what} outside the classifier's 0 to {num_classes - 1}{hint}")
    images = ImageSet(examples, transform)
    if not isinstance(examples.pixels, np.ndarray):
        one_of_each = {image.shape: index for index, image in enumerate(examples.pixels)}
        if len({images.batch([index]).pixel_values.shape for index in one_of_each.values()}) > 1:
            (h, w, _), (h2, w2, _), *_ = one_of_each
            raise InputError(
                f"{examples.source}: images have different sizes ({h} x {w}, {h2} x {w2} …): "
                f"a transform with a size is needed"
            )
    return images


def _transformed(pixels: np.ndarray, transform: Transform | None) -> Tensor:
    if pixels.dtype == np.float32 or transform is None:
        values = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 3, 1)))
        return values if pixels.dtype == np.float32 else values.to(torch.float32).div_(255)
    return transform(pixels)
