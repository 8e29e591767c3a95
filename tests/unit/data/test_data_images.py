"""Images: every source gives the same pixels; transforms against plain arithmetic; batches."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ofmu.data import ImageExamples, check_disjoint, overlap, read, split_by_ids
from ofmu.data.classes import same_classes
from ofmu.data.images import Normalise, encode_images
from ofmu.errors import InputError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
GREY = COLOUR[..., :1]
LABELS = [2, 0, 1, 1, 2, 0]


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(out, "PNG")
    return out.getvalue()


def images(source: Any, **options: Any) -> ImageExamples:
    found = read(source, **options)
    assert isinstance(found, ImageExamples)
    return found


def array(found: ImageExamples) -> np.ndarray:
    assert isinstance(found.pixels, np.ndarray)
    return found.pixels


class Pairs(torch.utils.data.Dataset[Any]):
    """A torch Dataset that can only be indexed, as the users' own ones are."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __getitem__(self, index: int) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


def sources(folder: Path, pixels: np.ndarray) -> dict[str, Any]:
    """The same six images in every form that is read."""
    rows = [{"image": {"bytes": png(p), "path": None}, "label": label} for p, label in zip(pixels, LABELS)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    np.savez(folder / "a.npz", images=pixels, labels=LABELS)
    (folder / "files").mkdir()
    for row, image in enumerate(pixels):
        (folder / "files" / f"{row}.png").write_bytes(png(image))
    paths = [json.dumps({"img": {"path": f"files/{row}.png"}, "fine_label": LABELS[row]}) for row in range(6)]
    (folder / "paths.jsonl").write_text("\n".join(paths))
    tensors = [torch.from_numpy(np.moveaxis(p, -1, 0).copy()) for p in pixels]
    return {
        "parquet": folder / "a.parquet",
        "npz": folder / "a.npz",
        "paths": folder / "paths.jsonl",
        "rows": rows,
        "rows of arrays": [{"img": p, "label": label} for p, label in zip(pixels, LABELS)],
        "pairs": list(zip(pixels, LABELS)),
        "Pillow": [(Image.open(io.BytesIO(png(p))), label) for p, label in zip(pixels, LABELS)],
        "torch": Pairs([(t, torch.tensor(label)) for t, label in zip(tensors, LABELS)]),
        "floats": Pairs([(t.float() / 255, np.int64(label)) for t, label in zip(tensors, LABELS)]),
        "TensorDataset": torch.utils.data.TensorDataset(torch.stack(tensors), torch.tensor(LABELS)),
    }


@pytest.mark.parametrize("pixels", [COLOUR, GREY], ids=["colour", "grey"])
def test_every_source_gives_the_same_images(tmp_path: Path, pixels: np.ndarray) -> None:
    for name, source in sources(tmp_path, pixels).items():
        found = images(source)
        assert array(found).dtype == np.uint8, name
        np.testing.assert_array_equal(array(found), pixels, err_msg=name)
        assert found.labels.tolist() == LABELS, name
        assert found.ids == tuple("012345"), name
        assert found.fingerprint == images(list(zip(pixels, LABELS))).fingerprint, name


def test_a_folder_per_class(tmp_path: Path) -> None:
    for row, name in enumerate(("dog", "cat", "cat", "bird")):
        (tmp_path / name / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "deep" / f"{row}.png").write_bytes(png(COLOUR[row]))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    found = images(tmp_path)
    assert found.class_names == ("bird", "cat", "dog")
    assert found.ids == ("bird/deep/3.png", "cat/deep/1.png", "cat/deep/2.png", "dog/deep/0.png")
    assert found.labels.tolist() == [0, 1, 1, 2]
    np.testing.assert_array_equal(array(found), COLOUR[[3, 1, 2, 0]])


def test_folders_that_are_numbers_are_the_labels(tmp_path: Path) -> None:
    for name in ("3", "10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png(COLOUR[0]))
    assert dict(zip(images(tmp_path).ids, images(tmp_path).labels.tolist())) == {"10/a.png": 10, "3/a.png": 3}


def test_one_numbering_for_all_sets(tmp_path: Path) -> None:
    for name in ("forget/cat", "retain/bird", "retain/cat", "retain/dog"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.png").write_bytes(png(COLOUR[len(name) % 6]))
    sets = {name: images(tmp_path / name) for name in ("forget", "retain")}
    assert sets["forget"].labels.tolist() == [0]
    named = same_classes(sets)
    assert [found.labels.tolist() for found in named.values()] == [[1], [0, 1, 2]]  # type: ignore[union-attr]
    ordered = same_classes(sets, ["dog", "fish", "cat", "bird"])
    assert [found.labels.tolist() for found in ordered.values()] == [[2], [3, 2, 0]]  # type: ignore[union-attr]
    assert same_classes(sets, ["LABEL_0", "LABEL_1"])["forget"].labels.tolist() == [1]  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"unknown class 'cat' \(did you mean 'cats'\?\)"):
        sets["forget"].with_classes(["cats", "dogs"])


def test_sizes_and_colours_may_differ(tmp_path: Path) -> None:
    pairs = [(COLOUR[0], 0), (GREY[1], 1), (COLOUR[2][:3], 2)]
    found = images(pairs)
    assert [p.shape for p in found.pixels] == [(5, 4, 3), (5, 4, 3), (3, 4, 3)]
    np.testing.assert_array_equal(found.pixels[1][..., 2], GREY[1][..., 0])
    with pytest.raises(InputError, match=r"different sizes \(5 x 4, 3 x 4 …\): a transform with a size"):
        encode_images(found, None)
    batch = encode_images(found, Normalise((0.5,) * 3, (0.5,) * 3, size=(6, 7))).batch([2, 0])
    assert batch.pixel_values.shape == (2, 3, 6, 7)
    assert batch.labels.tolist() == [2, 0]
    assert found.take([2, 0]).content_hash(0) == found.content_hash(2)


def test_prepared_floats_are_used_as_they_are() -> None:
    values = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    found = images(torch.utils.data.TensorDataset(values, torch.arange(4)))
    assert array(found).dtype == np.float32
    batch = encode_images(found, Normalise((0.5,) * 3, (0.5,) * 3)).batch([3, 1])
    assert torch.equal(batch.pixel_values, values[[3, 1]])


def test_clusters_and_hashes() -> None:
    rows = [
        {"image": {"bytes": png(COLOUR[row % 3])}, "label": row // 3, "document": f"d{row % 2}"} for row in range(6)
    ]
    own = images([{k: v for k, v in row.items() if k != "document"} for row in rows])
    assert own.clusters[:3] == own.clusters[3:]  # the same image is one cluster …
    assert len(set(own.clusters)) == 3
    assert own.content_hash(0) != own.content_hash(3)  # … but under another label another example
    by_document = images(rows).clusters
    assert by_document[0] == by_document[2] != by_document[1]
    assert images(rows, cluster_by="label").clusters[0] == images(rows, cluster_by="label").clusters[1]
    assert overlap(own.take([0, 1]), own.take([1, 2, 3])) == (1, "1")
    assert check_disjoint(own.take([0]), own.take([3])) == 0


def test_pictures_as_people_have_them() -> None:
    def back(picture: Image.Image, **options: Any) -> np.ndarray:
        out = io.BytesIO()
        picture.save(out, options.pop("format", "PNG"), **options)
        return array(images([{"image": {"bytes": out.getvalue()}, "label": 0}]))[0]

    colour = Image.fromarray(COLOUR[0])
    assert back(colour.convert("RGBA")).shape == (5, 4, 3)
    assert back(colour.convert("P")).shape == (5, 4, 3)
    assert back(colour.convert("1")).shape == (5, 4, 1)
    np.testing.assert_array_equal(back(colour.convert("LA"))[..., 0], np.asarray(colour.convert("L")))
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera lay on its side
    np.testing.assert_array_equal(back(colour, exif=turned), np.rot90(COLOUR[0], -1))
    with pytest.raises(InputError, match="row 0: column 'image': a picture of mode I;16; 8 bits a channel"):
        back(Image.fromarray(np.zeros((2, 2), dtype=np.uint16)))


def test_normalise_is_its_formula() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = Normalise(mean, std)(COLOUR)
    assert found.dtype == torch.float32
    expected = (COLOUR.astype(np.float64) / 255 - mean) / std
    np.testing.assert_allclose(found.numpy(), np.moveaxis(expected, 3, 1), atol=1e-6)
    np.testing.assert_allclose(
        Normalise(mean, std)(GREY).numpy(), Normalise(mean, std)(np.repeat(GREY, 3, axis=3)).numpy()
    )
    luma = Normalise((0.0,), (1.0,))(COLOUR).numpy()[:, 0] * 255
    np.testing.assert_allclose(luma, COLOUR @ np.array([0.299, 0.587, 0.114]), atol=0.51)


def test_normalise_resizes_as_pillow_does() -> None:
    for pixels, mean in ((COLOUR, (0.0,) * 3), (GREY, (0.0,))):
        found = Normalise(mean, tuple(1.0 for _ in mean), size=3)(pixels).numpy() * 255
        for row, image in enumerate(pixels):
            picture = Image.fromarray(image.squeeze(2) if len(mean) == 1 else image)
            expected = np.asarray(picture.resize((3, 3), Image.Resampling.BILINEAR), dtype=float)
            np.testing.assert_allclose(found[row], np.moveaxis(expected.reshape(3, 3, -1), 2, 0), atol=1e-4)


def test_normalise_refuses() -> None:
    for mean, std, message in (
        ((0.5,), (0.5, 0.5), "mean has 1 values and std 2; both need 1 or both 3"),
        ((0.5,), (0.0,), r"std is \(0.0,\), but must be > 0"),
    ):
        with pytest.raises(InputError, match=message):
            Normalise(mean, std)


def test_batches() -> None:
    found = encode_images(images(list(zip(COLOUR, LABELS))), None, num_classes=3)
    batch = found.batch([4, 0, 4], weights=[1, 0, 0.5]).to("cpu")
    assert (batch.ids, len(batch)) == (("4", "0", "4"), 3)
    np.testing.assert_allclose(batch.pixel_values.numpy() * 255, np.moveaxis(COLOUR[[4, 0, 4]], 3, 1), atol=1e-4)
    assert (batch.labels.tolist(), batch.weight.tolist()) == ([2, 2, 2], [1, 0, 0.5])
    assert found.batch([1]).weight.tolist() == [1]
    assert found.counts.tolist() == found.lengths.tolist() == [1] * 6
    assert found.take([2, 1]).ids == ("2", "1")
    assert found.fingerprint != encode_images(found.examples, Normalise((0.1,) * 3, (1.0,) * 3)).fingerprint
    with pytest.raises(InputError, match=r"2 labels are outside the classifier's 0 to 1, the first is 2 \(id '0'\)"):
        encode_images(found.examples, None, num_classes=2)
    with pytest.raises(InputError, match=r"the label 2 \(id '0'\) is outside the classifier's 0 to 1$"):
        encode_images(images([(COLOUR[0], 2)]), None, num_classes=2)


def test_cifar10(data_dir: Path) -> None:
    found = images(data_dir / "cifar10/test-00000-of-00001.parquet")
    assert array(found).shape == (2500, 32, 32, 3)
    assert np.bincount(found.labels).tolist() == [250] * 10
    assert len(set(found.clusters)) == 2500
    assert found.class_names is None or found.class_names[0] == "airplane"
    rows = pq.ParquetFile(data_dir / "cifar10/test-00000-of-00001.parquet").read().slice(700, 1).to_pylist()
    np.testing.assert_array_equal(array(found)[700], np.asarray(Image.open(io.BytesIO(rows[0]["img"]["bytes"]))))
    forget, retain = split_by_ids(found, ["3", 700])
    assert (forget.ids, len(retain)) == (("3", "700"), 2498)
    assert check_disjoint(forget, retain) == 0


def test_huggingface_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y", "z"])})
    rows = {"image": [Image.fromarray(p) for p in COLOUR], "label": LABELS}
    data = datasets.Dataset.from_dict(rows, features=features)
    data.save_to_disk(tmp_path / "saved")
    data.to_parquet(tmp_path / "a.parquet")
    for source in (data, data.with_format("torch"), tmp_path / "saved", tmp_path / "a.parquet"):
        found = images(source)
        np.testing.assert_array_equal(array(found), COLOUR)
        assert (found.labels.tolist(), found.class_names) == (LABELS, ("x", "y", "z"))
    chosen = images(data.select([3, 1]))
    np.testing.assert_array_equal(array(chosen), COLOUR[[3, 1]])
    texts = datasets.Dataset.from_list([{"text": "a"}, {"text": "b"}])
    assert read(texts.to_iterable_dataset()).fingerprint == read(texts).fingerprint == read(["a", "b"]).fingerprint
