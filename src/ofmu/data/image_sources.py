"""Images from tables, from a folder per class and from .npz files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofmu.data import pictures
from ofmu.data.clusters import by_column, cluster_column
from ofmu.data.containers import read_bytes
from ofmu.data.examples import ImageExamples, pixel_hash
from ofmu.data.identities import cluster_name, row_ids
from ofmu.data.tables import Table, kind, nearest
from ofmu.errors import InputError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label", "labels")


def images_of_table(table: Table, *, folder: Path | None = None, cluster_by: str | None = None) -> ImageExamples:
    """The images of a table with ``image`` or ``img`` and ``label`` or ``fine_label``.

    Args:
        table: rows; an image is a struct of ``bytes`` and ``path``, or encoded bytes.
        folder: where a relative path in a cell starts; None: paths are not followed.
        cluster_by: the column that says which images belong together; None: see :mod:`ofmu.data.clusters`.

    Raises:
        InputError: for an image that cannot be decoded and a label that is no integer ≥ 0 (file and row).
    """
    image = next(name for name in IMAGE_COLUMNS if name in table.columns)
    label = next((name for name in LABEL_COLUMNS if name in table.columns), None)
    if label is None:
        found = ", ".join(table.columns)
        hint = nearest(LABEL_COLUMNS[:2], table.columns)
        raise InputError(f"{table.source}: no column 'label' or 'fine_label'{hint}; found: {found}")
    decoded: list[np.ndarray] = []
    for row in range(len(table.rows)):
        try:
            decoded.append(pictures.from_cell(table.cell(row, image), folder))
        except pictures.BadPicture as error:
            raise table.error(row, f"column '{image}': {error}") from error
    labels = [_label(table, row, label) for row in range(len(table.rows))]
    names = (table.class_names or {}).get(label)
    if names and max(labels) >= len(names):
        row = next(row for row, value in enumerate(labels) if value >= len(names))
        raise table.error(row, f"label {labels[row]}, but the file names the classes 0 to {len(names) - 1}")
    column = cluster_column(table, cluster_by)
    clusters = by_column(table, column) if column else None
    return image_examples(decoded, labels, table.source, ids=row_ids(table), clusters=clusters, class_names=names)


def images_of_folder(folder: Path) -> ImageExamples:
    """A folder per class: ``folder/<class>/…/<image>``.

    Classes are numbered in the order of their names; names that are all numbers are the labels themselves. An
    image's id is its path within the folder.

    Raises:
        InputError: if there is no folder with images, or an image that cannot be decoded (names it).
    """
    files = sorted(p for p in folder.glob("*/**/*") if p.suffix.lower() in pictures.SUFFIXES and p.is_file())
    if not files:
        kinds = ", ".join(pictures.SUFFIXES)
        raise InputError(
            f"{folder} is neither a folder of datasets.save_to_disk nor one with a folder per class of images ({kinds})"
        )
    relative = [path.relative_to(folder) for path in files]
    classes = sorted({path.parts[0] for path in relative})
    numbered = all(name.isdecimal() for name in classes)
    decoded: list[np.ndarray] = []
    for path in files:
        try:
            decoded.append(pictures.decode(path))
        except pictures.BadPicture as error:
            raise InputError(f"{path}: {error}") from error
    labels = [int(path.parts[0]) if numbered else classes.index(path.parts[0]) for path in relative]
    ids = tuple(path.as_posix() for path in relative)
    names = None if numbered else tuple(classes)
    return image_examples(decoded, labels, str(folder), ids=ids, class_names=names)


def images_of_npz(path: Path) -> ImageExamples:
    """A NumPy file: ``images`` (uint8 [n, H, W] or [n, H, W, C]) and ``labels`` ([n]); nothing is unpickled.

    ``ids`` and ``clusters`` ([n]) and ``class_names`` are read where they are there.
    """
    arrays = _arrays(path)
    missing = [name for name in ("images", "labels") if name not in arrays]
    if missing:
        found = ", ".join(arrays) or "nothing"
        raise InputError(f"{path}: no array '{missing[0]}'{nearest(missing, arrays)}; found: {found}")
    images, labels = arrays["images"], arrays["labels"]
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or images.dtype != np.uint8:
        raise InputError(
            f"{path}: images are {images.dtype} {list(arrays['images'].shape)}, but must be uint8 "
            f"[n, height, width] or [n, height, width, 1 or 3], values 0 to 255"
        )
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        shape = list(labels.shape)
        raise InputError(f"{path}: labels are {labels.dtype} {shape}, but must be {len(images)} integers")
    rows = [
        {name: str(arrays[many][row]) for name, many in (("id", "ids"), ("cluster", "clusters")) if many in arrays}
        for row in range(len(images))
    ]
    table = Table(str(path), rows)
    return image_examples(
        images,
        [_whole(table, row, label.item()) for row, label in enumerate(labels)],
        str(path),
        ids=row_ids(table),
        clusters=by_column(table, "cluster") if "clusters" in arrays else None,
        class_names=tuple(map(str, arrays["class_names"])) if "class_names" in arrays else None,
    )


def image_examples(
    images: Sequence[np.ndarray] | np.ndarray,
    labels: Sequence[int],
    source: str,
    *,
    ids: tuple[str, ...] | None = None,
    clusters: Sequence[str] | None = None,
    class_names: tuple[str, ...] | None = None,
) -> ImageExamples:
    """Images [H, W, C] and labels; ids are row numbers and each picture its own cluster unless given."""
    try:
        pixels = images if isinstance(images, np.ndarray) else pictures.stack(images)
    except pictures.BadPicture as error:
        raise InputError(f"{source}: {error}") from error
    return ImageExamples(
        ids=ids if ids is not None else tuple(str(row) for row in range(len(images))),
        clusters=tuple(clusters) if clusters else tuple(cluster_name("image", pixel_hash(p)) for p in pixels),
        pixels=pixels,
        labels=np.asarray(labels, dtype=np.int64),
        class_names=class_names,
        source=source,
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, AttributeError, TypeError) as error:
        why = "it holds pickled objects, which are never loaded" if "allow_pickle" in str(error) else "not a .npz file"
        raise InputError(f"cannot read {path}: {why}") from error


def _label(table: Table, row: int, column: str) -> int:
    value = table.cell(row, column)
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal():  # CSV has only texts
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        what = repr(value) if isinstance(value, str) else kind(value)
        raise table.error(row, f"column '{column}' is {what}, but a label must be an integer")
    return _whole(table, row, value)


def _whole(table: Table, row: int, value: Any) -> int:
    if not 0 <= value < 1 << 31:
        raise table.error(row, f"label {value}, but labels count from 0")
    return int(value)
