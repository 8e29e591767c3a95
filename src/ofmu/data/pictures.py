"""One picture: encoded bytes, a file, a Pillow image, an array or a tensor becomes an array [H, W, C]."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ofmu.data.tables import kind

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_GREY = {"1", "L", "LA"}


class BadPicture(ValueError):
    """A value that is no picture; the reader adds the file and the row."""


def decode(encoded: bytes | Path) -> np.ndarray:
    """The pixels of an encoded picture, turned upright: [H, W, 1] if it is grey, else [H, W, 3]."""
    try:
        with Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as picture:
            return from_pillow(ImageOps.exif_transpose(picture))
    except BadPicture:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadPicture("not a picture that Pillow can read") from error
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
    ) as error:  # what Pillow's decoders raise on broken data
        raise BadPicture(f"broken picture ({str(error).splitlines()[0] if str(error) else 'no data'})") from error


def from_pillow(picture: Image.Image) -> np.ndarray:
    """The pixels of a Pillow image: [H, W, 1] if it is grey, else [H, W, 3] (alpha is left out)."""
    if picture.mode in _GREY:
        return np.asarray(picture.convert("L"), dtype=np.uint8)[:, :, None]
    if picture.mode.startswith(("I", "F")):
        raise BadPicture(f"a picture of mode {picture.mode}; 8 bits a channel are expected")
    return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def from_array(array: np.ndarray) -> np.ndarray:
    """The pixels of an array [H, W] or [H, W, C]: uint8, or float32 where it holds floats."""
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        shape = list(array.shape)
        raise BadPicture(f"an image of shape {shape}; arrays are [H, W, 1 or 3], tensors [1 or 3, H, W]")
    if pixels.dtype.kind == "f":
        return np.ascontiguousarray(pixels, dtype=np.float32)
    if pixels.dtype != np.uint8:
        raise BadPicture(f"an image of {array.dtype}; uint8 or floats are expected")
    return np.ascontiguousarray(pixels)


def from_cell(cell: Any, folder: Path | None = None) -> np.ndarray:
    """The pixels of whatever holds a picture.

    Args:
        cell: Hugging Face's struct of ``bytes`` and ``path``, encoded bytes, a Pillow image, an array [H, W] or
            [H, W, C], or a torch tensor [H, W] or [C, H, W].
        folder: where a relative path starts; None: paths are not followed.
    """
    match cell:
        case Image.Image():
            return from_pillow(cell)
        case bytes():
            return decode(cell)
        case np.ndarray():
            return from_array(cell)
        case {"bytes": bytes(encoded)}:
            return decode(encoded)
        case {"path": str(path)} if folder is not None:
            if not (folder / path).is_file():
                raise BadPicture(f"there is no file {folder / path}")
            return decode(folder / path)
        case {**_rest}:
            raise BadPicture("a picture with neither 'bytes' nor 'path'")
    if is_tensor(cell):
        array = cell.detach().cpu().numpy()
        return from_array(np.moveaxis(array, 0, -1) if array.ndim == 3 else array)
    raise BadPicture(f"{kind(cell)}, but must be a picture: a struct of 'bytes' and 'path', an array …")


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor, found out without loading torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def stack(pictures: Sequence[np.ndarray]) -> np.ndarray | tuple[np.ndarray, ...]:
    """One array [n, H, W, C] if the sizes agree, else a tuple; grey among colours becomes colour."""
    pictures = _one_type(pictures)
    if len({picture.shape[2] for picture in pictures}) > 1:
        pictures = [np.repeat(p, 3, axis=2) if p.shape[2] == 1 else p for p in pictures]
    if len({picture.shape for picture in pictures}) > 1:
        return tuple(pictures)
    return np.stack(pictures)


def _one_type(pictures: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """All uint8 where every float is exactly a pixel / 255 (what ``ToTensor`` makes), else all as they are."""
    back = [_pixels_again(picture) for picture in pictures]
    if all(picture is not None for picture in back):
        return [picture for picture in back if picture is not None]
    if any(picture.dtype == np.uint8 for picture in pictures):
        raise BadPicture("some images are uint8 and some are prepared floats; give one kind")
    return pictures


def _pixels_again(picture: np.ndarray) -> np.ndarray | None:
    if picture.dtype == np.uint8:
        return picture
    scaled = np.rint(picture * np.float32(255))
    inside = np.isfinite(scaled).all() and scaled.min() >= 0 and scaled.max() <= 255
    if not inside or not np.array_equal(scaled / np.float32(255), picture):
        return None
    return scaled.astype(np.uint8)
