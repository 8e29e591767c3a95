"""Every input that cannot be used: one line that says what was found, where, and what is expected."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ofmu.data import check_disjoint, read, split_by_ids
from ofmu.errors import InputError

ANSWER = '{"question": "q", "answer": "a"}\n'


def png(colour: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (2, 2), (colour, 0, 0)).save(out, "PNG")
    return out.getvalue()


def fails(source: Any, message: str, **options: Any) -> None:
    with pytest.raises(InputError) as caught:
        read(source, **options)
    assert str(caught.value) == message
    assert "\n" not in message


FILES: dict[str, tuple[str, bytes, str]] = {
    "no JSON": ("a.jsonl", b'{"text": "one"}\n{"text": \n', "{p}:2: not a JSON object (Expecting value at column 10)"),
    "a number": ("a.jsonl", b"3\n", "{p}:1: not a JSON object (found a number)"),
    "deep": ("a.jsonl", b"[" * 200_000, "{p}:1: not a JSON object (nested too deep)"),
    "broken list": ("a.json", b'[{"text": "a"},\n oops]', "{p}:2: not JSON (Expecting value at column 2)"),
    "an object": ("a.json", b'{\n"text": "a"}', "{p}: found an object, but a list of objects is expected"),
    "list in list": ("a.json", b"[[1]]", "{p}, row 0: not an object (found a list)"),
    "empty": ("a.jsonl", b"\n\n", "{p} holds no examples"),
    "empty list": ("a.json", b"[]", "{p} holds no examples"),
    "only a header": ("a.csv", b"question,answer\n", "{p} holds no examples"),
    "not UTF-8": ("a.jsonl", ANSWER.encode() + b'{"text": "\xff"}', "{p}:2: not UTF-8 text"),
    "not gzip": ("a.jsonl.gz", b"plain", "cannot unpack {p}: not a whole gzip file (Not a gzipped file (b'pl'))"),
    "kind": (
        "a.xlsx",
        b"x",
        "{p}: unknown kind of file '.xlsx'; known are .jsonl, .json, .csv, .parquet, .arrow (each also .gz) and .npz",
    ),
    "cells": ("a.csv", b"question,answer\nq,a\nq,a,b\n", "{p}:3: 3 cells, but the header names 2 columns"),
    "header": ("a.csv", b"text,text\na,b\n", "{p}:1: the header names the column 'text' twice"),
    "quotes": ("a.csv", b'text\n"a"b\n', "{p}:2: not CSV (',' expected after '\"')"),
    "columns": (
        "a.jsonl",
        b'{"question": "q", "anwser": "a"}',
        "{p}: found the columns question, anwser; expected question, choices, answer | question, answer | prompt, "
        "completion | messages | text | image, label (did you mean 'anwser' to be 'answer'?)",
    ),
    "a row without": ("a.jsonl", (ANSWER + '{"question": "q"}').encode(), "{p}:2: no column 'answer'"),
    "no answer": ("a.jsonl", (ANSWER + '{"question": "q", "answer": " "}').encode(), "{p}:2: a prompt with no answer"),
    "null answer": ("a.jsonl", b'{"question": "q", "answer": null}', "{p}:1: a prompt with no answer"),
    "no completion": ("a.csv", b"prompt,completion\np,c\np,\n", "{p}:3: a prompt with no completion"),
    "no question": ("a.jsonl", b'{"question": "", "answer": "a"}', "{p}:1: the question is empty"),
    "no text": ("a.json", b'["a", ""]', "{p}, row 1: no text"),
    "type": ("a.jsonl", b'{"question": "q", "answer": ["a"]}', "{p}:1: column 'answer' is a list, but must be text"),
    "truth": ("a.jsonl", b'{"text": true}', "{p}:1: column 'text' is true or false, but must be text"),
    "not a number": (
        "a.jsonl",
        (ANSWER + '{"question": 1, "answer": NaN}').encode(),
        "{p}:2: column 'answer' is nan (a missing value?), but must be text",
    ),
    "infinity": (
        "a.jsonl",
        b'{"question": -Infinity, "answer": 1}',
        "{p}:1: column 'question' is -inf (a missing value?), but must be text",
    ),
    "nan as an id": (
        "a.json",
        b'[{"id": NaN, "text": "a"}]',
        "{p}, row 0: column 'id' is nan (a missing value?), but must be text",
    ),
    "null prompt": (
        "a.jsonl",
        b'{"prompt": null, "completion": "c"}',
        "{p}:1: column 'prompt' is nothing, but must be text (it may be empty: \"\")",
    ),
    "roles": (
        "a.jsonl",
        b'{"messages": [{"role": "user", "content": "u"}]}',
        "{p}:1: a prompt with no completion: no message has the role 'assistant'",
    ),
    "silent": (
        "a.jsonl",
        b'{"messages": [{"role": "assistant", "content": " "}]}',
        "{p}:1: a prompt with no completion: the last assistant turn is empty",
    ),
    "message": (
        "a.jsonl",
        b'{"messages": [{"role": "user"}]}',
        "{p}:1: message 0 of 'messages' must have the texts 'role' and 'content'",
    ),
    "messages": (
        "a.jsonl",
        b'{"messages": "hi"}',
        "{p}:1: column 'messages' is of type str, but must be a list of messages",
    ),
    "choice": (
        "a.jsonl",
        b'{"question": "q", "choices": ["a", "b"], "answer": 2}',
        "{p}:1: answer is 2, but there are 2 choices (0 to 1 or A to B)",
    ),
    "letter": (
        "a.jsonl",
        b'{"question": "q", "choices": ["a", "b"], "answer": "C"}',
        "{p}:1: answer is 'C', but there are 2 choices (0 to 1 or A to B)",
    ),
    "choices": (
        "a.jsonl",
        b'{"question": "q", "choices": "a", "answer": 0}',
        "{p}:1: column 'choices' is of type str, but must be a list of texts",
    ),
    "id twice": (
        "a.jsonl",
        b'{"id": 1, "text": "a"}\n{"id": "2", "text": "b"}\n{"id": "1", "text": "c"}\n',
        "{p}:3: the id '1' comes twice (first in line 1)",
    ),
    "no id": ("a.jsonl", b'{"id": null, "text": "a"}', "{p}:1: the id is empty"),
    "cluster": (
        "a.jsonl",
        b'{"author": "x", "text": "a"}\n{"author": "", "text": "b"}',
        "{p}:2: column 'author' is empty, but says which rows belong together",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files(tmp_path: Path, case: str) -> None:
    name, raw, message = FILES[case]
    path = tmp_path / name
    path.write_bytes(raw)
    fails(path, "forget set: " + message.replace("{p}", str(path)))


def test_broken_arrow_files(tmp_path: Path) -> None:
    for name, kind in (("a.parquet", "a parquet"), ("a.arrow", "an arrow"), ("a.parquet.gz", "a parquet")):
        path = tmp_path / name
        path.write_bytes(gzip.compress(b"x" * 20) if name.endswith(".gz") else b"x" * 20)
        with pytest.raises(InputError, match=rf"^retain set: .*{name}: not {kind} file \(.+\)$"):
            read(path, name="retain")
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "state.json").write_text('{"_data_files": [{"filename": "gone.arrow"}]}')
    with pytest.raises(InputError, match=r"saved: not a whole folder of datasets.save_to_disk \(.*gone.arrow"):
        read(folder)


def test_half_a_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(ANSWER.encode() * 1000)[:-10])
    with pytest.raises(InputError, match=r"cannot unpack .*a.jsonl.gz: not a whole gzip file"):
        read(path)


def test_missing_and_unreadable(tmp_path: Path) -> None:
    (tmp_path / "forget.jsonl").write_text(ANSWER)
    fails(
        str(tmp_path / "forgot.jsonl"),
        f"holdout set: no file or folder {tmp_path}/forgot.jsonl (did you mean {tmp_path}/forget.jsonl?)",
        name="holdout",
    )
    fails(
        str(tmp_path / "forget.csv"),
        f"forget set: no file or folder {tmp_path}/forget.csv (did you mean {tmp_path}/forget.jsonl?)",
    )
    fails(str(tmp_path / "retain.jsonl"), f"forget set: no file or folder {tmp_path}/retain.jsonl")
    fails("data/forget_me.jsonl", "forget set: no file or folder data/forget_me.jsonl")
    fails(tmp_path / "no" / "way", f"forget set: no file or folder {tmp_path}/no/way")
    with pytest.raises(InputError, match=r"neither a folder of datasets\.save_to_disk nor one with a folder per class"):
        read(tmp_path)


def test_what_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(ANSWER)

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # the tests may run as root, who may read everything
    fails(path, f"forget set: cannot read {path}: Permission denied")


def test_options() -> None:
    row = {"question": "q", "answer": "a", "autor": "x"}
    fails(
        [row],
        "unknown format 'qa'; there are: chat, images, multiple_choice, prompt_completion, question_answer, text",
        format="qa",
    )
    fails(
        [row],
        "forget set: data in memory: found the columns question, answer, autor; expected messages",
        format="chat",
    )
    fails(
        [row],
        "forget set: data in memory has no column 'author' to cluster by (did you mean 'autor' to be 'author'?); "
        "found: question, answer, autor",
        cluster_by="author",
    )


IMAGE_ROWS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "broken": (
        [{"image": {"bytes": b"no picture"}, "label": 0}],
        "row 0: column 'image': not a picture that Pillow can read",
    ),
    "cut": (
        [{"image": {"bytes": png()}, "label": 0}, {"image": {"bytes": png()[:45]}, "label": 0}],
        "row 1: column 'image': broken picture (image file is truncated)",
    ),
    "nothing": (
        [{"img": {"bytes": None, "path": None}, "label": 0}],
        "row 0: column 'img': a picture with neither 'bytes' nor 'path'",
    ),
    "text": ([{"img": "cat.png", "label": 0}], "row 0: column 'img': of type str, but must be a picture"),
    "name": (
        [{"image": {"bytes": png()}, "label": "cat"}],
        "row 0: column 'label' is 'cat', but a label must be an integer",
    ),
    "half": (
        [{"image": {"bytes": png()}, "label": 0.5}],
        "row 0: column 'label' is a number, but a label must be an integer",
    ),
    "negative": ([{"image": {"bytes": png()}, "fine_label": -1}], "row 0: label -1, but labels count from 0"),
}


@pytest.mark.parametrize("case", IMAGE_ROWS)
def test_image_rows(case: str) -> None:
    rows, message = IMAGE_ROWS[case]
    with pytest.raises(InputError) as caught:
        read(rows, format="images" if "label" not in rows[0] else None)
    assert str(caught.value).startswith(f"forget set: data in memory, {message}")
    assert "\n" not in str(caught.value)


def test_images_without_labels() -> None:
    fails(
        [{"image": {"bytes": png()}, "lable": 0}],
        "forget set: data in memory: no column 'label' or 'fine_label' (did you mean 'lable' to be 'label'?); "
        "found: image, lable",
        format="images",
    )


def test_a_broken_image_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"nothing")
    fails(tmp_path, f"forget set: {tmp_path}/cat/a.png: not a picture that Pillow can read")
    fails(tmp_path, f"forget set: {tmp_path}/cat/a.png: not a picture that Pillow can read", format="images")


def _npz(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


PIXELS = np.zeros((2, 3, 3), dtype=np.uint8)
NPZ: dict[str, tuple[Callable[[Path], None], str]] = {
    "names": (
        _npz(image=PIXELS, labels=[0, 1]),
        "{p}: no array 'images' (did you mean 'image' to be 'images'?); found: image, labels",
    ),
    "type": (
        _npz(images=PIXELS.astype(float), labels=[0, 1]),
        "{p}: images are float64 [2, 3, 3], but must be uint8 [n, height, width] or [n, height, width, 1 or 3], "
        "values 0 to 255",
    ),
    "labels": (_npz(images=PIXELS, labels=[0.5, 1]), "{p}: labels are float64 [2], but must be 2 integers"),
    "count": (_npz(images=PIXELS, labels=[0]), "{p}: labels are int64 [1], but must be 2 integers"),
    "negative": (_npz(images=PIXELS, labels=[0, -1]), "{p}, row 1: label -1, but labels count from 0"),
    "pickled": (
        _npz(images=np.array([{"a": 1}], dtype=object), labels=[0]),
        "cannot read {p}: it holds pickled objects, which are never loaded",
    ),
    "no zip": (
        lambda path: path.write_bytes(b"x" * 30) and None,
        "cannot read {p}: it holds pickled objects, which are never loaded",
    ),
    "empty": (lambda path: path.write_bytes(b"") and None, "cannot read {p}: not a .npz file"),
    "one array": (lambda path: path.write_bytes(_one_array()) and None, "cannot read {p}: not a .npz file"),
    "id twice": (
        _npz(images=PIXELS, labels=[0, 1], ids=["a", "a"]),
        "{p}, row 1: the id 'a' comes twice (first in row 0)",
    ),
}


def _one_array() -> bytes:
    out = io.BytesIO()
    np.save(out, PIXELS)
    return out.getvalue()


@pytest.mark.parametrize("case", NPZ)
def test_npz(tmp_path: Path, case: str) -> None:
    write, message = NPZ[case]
    path = tmp_path / "a.npz"
    write(path)
    fails(path, "forget set: " + message.replace("{p}", str(path)))


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "touched",))

    np.savez(tmp_path / "a.npz", images=PIXELS, labels=np.array([Evil(), 0], dtype=object))
    with pytest.raises(InputError, match="pickled objects, which are never loaded"):
        read(tmp_path / "a.npz")
    assert not (tmp_path / "touched").exists()


def test_memory() -> None:
    fails(
        [{"question": "q", "answer": "a"}, {"question": "q", "answer": float("nan")}],
        "forget set: data in memory, row 1: column 'answer' is nan (a missing value?), but must be text",
    )
    fails(
        {"text": "a"},
        "forget set: data in memory is an object, but must be a list of rows (dicts), of texts or of "
        "pairs (image, label), a datasets.Dataset or a torch Dataset of (image, label)",
    )
    fails([], "forget set: data in memory holds no examples")
    fails(["a", 3], "forget set: data in memory, row 1: found a number, but row 0 is a row (dict) or a text")
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    fails(
        [(image, 0), (image,)],
        "forget set: data in memory, row 1: found of type tuple, but a pair (image, label) is expected",
    )
    fails([(image, "cat")], "forget set: data in memory, row 0: the label is of type str, but must be an integer")
    fails([(image, -3)], "forget set: data in memory, row 0: label -3, but labels count from 0")
    fails(
        [(image.astype(int), 0)], "forget set: data in memory, row 0: an image of int64; uint8 or floats are expected"
    )
    fails(
        [("x", 0)],
        "forget set: data in memory, row 0: of type str, but must be a picture: a struct of 'bytes' and "
        "'path', an array …",
    )
    floats = np.full((2, 2, 3), -1.5, dtype=np.float32)
    fails(
        [(image, 0), (floats, 0)],
        "forget set: data in memory: some images are uint8 and some are prepared floats; give one kind",
    )


def test_forget_ids(tmp_path: Path) -> None:
    data = read([{"id": f"x{row}", "text": f"t{row}"} for row in range(5)])
    ids = tmp_path / "ids.txt"

    def split_fails(text: str, message: str) -> None:
        ids.write_text(text)
        with pytest.raises(InputError) as caught:
            split_by_ids(data, ids)
        assert str(caught.value) == message

    split_fails(
        "x1\nx9\nx7\n",
        f"{ids}: 2 ids do not exist in data in memory, the first is 'x9' (ids there go from 'x0' to 'x4')",
    )
    split_fails(
        "5\n", f"{ids}: 1 id does not exist in data in memory, the first is '5' (ids there go from 'x0' to 'x4')"
    )
    split_fails(" \n", f"{ids} lists no id: nothing to forget")
    split_fails("\n".join(data.ids), f"{ids} lists all 5 ids of data in memory: nothing is left to retain")
    with pytest.raises(InputError, match=r"forget ids: cannot read .*none.txt \(No such file or directory\)"):
        split_by_ids(data, tmp_path / "none.txt")
    ids.write_bytes(b"x1\n\xff")
    with pytest.raises(InputError, match=r"ids.txt is not UTF-8 text \(byte 3\)"):
        split_by_ids(data, ids)


def test_the_same_example_in_both(tmp_path: Path) -> None:
    forget, retain = tmp_path / "f.jsonl", tmp_path / "r.csv"
    forget.write_text("".join(json.dumps({"id": f"f{i}", "question": f"q{i}", "answer": "a"}) + "\n" for i in range(4)))
    retain.write_text("question,answer\nq3,a\nq2,b\nq1,a\n")
    with pytest.raises(InputError) as caught:
        check_disjoint(read(forget), read(retain))
    assert str(caught.value) == (
        f"2 examples are in both the forget set ({forget}) and the retain set ({retain}), the first is id 'f1' of the "
        f"forget set; take it out of one of them or give --allow-overlap"
    )
    assert check_disjoint(read(forget), read(retain), allow=True) == 2
