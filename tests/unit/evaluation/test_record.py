from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from ofmu.errors import InputError
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records


def test_means_and_counts_of_each_example(text_record):
    record = text_record({"a": [0.1, 0.3, 0.2], "b": [4.0]}, content=[True, True, False, False])
    assert record.means("nll") == pytest.approx([0.2, 4.0])
    assert record.counts().tolist() == [3, 1]
    content = record.columns["content"]
    assert record.means("nll", where=content) == pytest.approx([0.2, np.nan], nan_ok=True)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_record_survives_the_disk(kind, text_record, image_record, tmp_path):
    if kind == "text":
        given = {"clusters": ("x", "y", "x"), "excluded": {"q": "why"}}
        record = text_record({"b": [0.5, 1.5], "a": [2.0], "ü/\n": [0.1]}, **given)
    else:
        record = image_record([[3.0, 1.0], [0.0, 2.0]], [0, 0])
    record.to_parquet(tmp_path / "r.parquet")
    again = Record.from_parquet(tmp_path / "r.parquet")
    assert (again.ids, again.clusters, again.key, again.excluded, again.classes, again.modality) == (
        record.ids,
        record.clusters,
        record.key,
        record.excluded,
        record.classes,
        record.modality,
    )
    assert np.array_equal(again.example, record.example)
    for name, column in record.columns.items():
        assert np.array_equal(again.columns[name], column)
        assert again.columns[name].dtype == column.dtype
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.column("id").to_pylist() == [record.ids[row] for row in record.example]
    assert "token" not in " ".join(table.column_names)


def test_the_key_tells_models_and_data_apart(text_record):
    keys = {text_record({"a": [1.0]}, model=m, data=d).key for m in ("m1", "m2") for d in ("d1", "d2")}
    assert len(keys) == 4


def test_what_is_no_record_is_refused(tmp_path, text_record):
    with pytest.raises(InputError, match="cannot be read"):
        Record.from_parquet(tmp_path / "missing.parquet")
    (tmp_path / "x.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="cannot be read"):
        Record.from_parquet(tmp_path / "x.parquet")
    text_record({"a": [1.0]}).to_parquet(tmp_path / "r.parquet")
    pq.write_table(pq.read_table(tmp_path / "r.parquet").replace_schema_metadata({}), tmp_path / "r.parquet")
    with pytest.raises(InputError, match="is no record"):
        Record.from_parquet(tmp_path / "r.parquet")
    with pytest.raises(InputError, match="holds no records"):
        Records.load(tmp_path / "nowhere")


def test_rows_that_do_not_fit_are_refused(text_record):
    good = text_record({"a": [1.0]})
    with pytest.raises(ValueError, match="each id once"):
        Record("text", ("a", "a"), ("x", "x"), np.array([0]), good.columns)
    with pytest.raises(ValueError, match="needs a row"):
        Record("text", ("a", "b"), ("x", "x"), np.array([0]), good.columns)
    with pytest.raises(ValueError, match="has the columns"):
        Record("image", ("a",), ("x",), np.array([0]), good.columns)


def test_records_of_all_models_go_to_a_folder_and_back(text_record, tmp_path):
    records = Records()
    for role in ("base", "retrained-2", "unlearned", "retrained", "retrained-10", "original"):
        records.add(role, "forget", text_record({"a": [1.0]}, model=role))
    records.add("unlearned", "holdout", text_record({"b": [1.0]}))
    records.save(tmp_path)
    again = Records.load(tmp_path)
    assert set(again) == set(records)
    assert again.roles == ("original", "unlearned", "retrained", "retrained-2", "retrained-10", "base")
    assert again.retrained == ("retrained", "retrained-2", "retrained-10")
    assert again.sets == ("forget", "holdout")
    assert again["base", "forget"].model == "base"


def test_unknown_roles_sets_and_mixed_modalities_are_refused(text_record, image_record):
    records = Records({("original", "forget"): text_record({"a": [1.0]})})
    with pytest.raises(ValueError, match="unknown role"):
        records.add("retrained-0", "forget", text_record({"a": [1.0]}))
    with pytest.raises(ValueError, match="name of a set"):
        records.add("original", "Train set", text_record({"a": [1.0]}))
    with pytest.raises(ValueError, match="cannot be compared"):
        records.add("original", "retain", image_record([[1.0, 0.0]], [0]))


def test_removed_classes_are_seen_only_where_their_absence_means_something(image_record):
    logits = [[1.0, 0.0, 0.0]] * 30
    forget = image_record(logits[:4], [2] * 4)
    kept = image_record(logits, [0, 1] * 15)
    assert Records({("original", "forget"): forget, ("original", "retain"): kept}).removed_classes == {2}
    some = image_record(logits[:29], ([0, 1] * 15)[:29])  # under ten images a class
    assert not Records({("original", "forget"): forget, ("original", "retain"): some}).removed_classes
    mixed = image_record(logits, [0, 1, 2] * 10)
    assert not Records({("original", "forget"): forget, ("original", "retain"): mixed}).removed_classes
    told = Records({("original", "forget"): forget, ("original", "retain"): some}, removed_classes=[1, 2])
    assert told.removed_classes == {1, 2}
