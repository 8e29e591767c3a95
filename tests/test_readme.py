"""Every command and every example of the README and the guides, run on small files that are made here.

A fenced ``sh`` block is run line by line, a ``python`` block as a whole; one whose first line names a file
(```` ```python my_method.py ````) is written to it. Each page starts in a folder of its own with the files that its
examples name.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ofmu.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/quickstart.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/how-to/*.md"))]
FENCE = re.compile(r"^```(?P<language>sh|python)(?: (?P<file>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    file: str | None
    body: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield Block(found["language"], found["file"], found["body"], text[: found.start()].count("\n") + 2)


def commands(body: str) -> Iterator[list[str]]:
    """The words of each command, comments left out and lines joined."""
    for line in body.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")  # a run's temporary folder goes with it
@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_example_of_a_page_runs(
    page: str,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = list(blocks(page))
    assert found, f"{page} shows nothing to run"
    for block in found:
        if block.file is not None:
            Path(block.file).write_text(block.body, encoding="utf-8")
        elif block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.body, str(ROOT / page), "exec"), {"__name__": "__example__"})
        else:
            for words in commands(block.body):
                code = RUNNERS[words[0]](words)
                err = capsys.readouterr().err
                assert code == 0, f"{page}: {shlex.join(words)}\n{err}"


def _ofmu(words: list[str]) -> int:
    if words[:2] == ["ofmu", "demo"]:
        words = ["ofmu", "demo", "--quick", "--seeds", "1"]
    try:
        return main(words[1:])
    except SystemExit as ended:  # --help
        return int(ended.code or 0)


def _python(words: list[str]) -> int:
    assert words[1:3] == ["-m", "ofmu"], words
    return _ofmu(words[2:])


def _torchrun(words: list[str]) -> int:
    """Several processes are tests/distributed's business: here one process checks the input and makes the plan."""
    at = words.index("ofmu")
    assert words[at - 1] == "-m"
    return _ofmu([*words[at:], "--dry-run"])


def _make(words: list[str]) -> int:
    """What make would do: doing it would run these tests again."""
    return subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, check=False).returncode


RUNNERS: dict[str, Callable[[list[str]], int]] = {
    "ofmu": _ofmu,
    "python": _python,
    "torchrun": _torchrun,
    "make": _make,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples name: models, data, ids, and a run that was stopped."""
    folder = tmp_path_factory.mktemp("files")
    _write_people(folder)
    _write_images(folder)
    assert main(["finetune", "--model", str(folder / "my-config"), "--data", str(folder / "all.jsonl"), "--quiet",
                 "--steps", "60", "--output", str(folder / "trained"), "--device", "cpu"]) == 0  # fmt: skip
    for name in ("my-model", "model-before"):
        shutil.copytree(folder / "trained/model", folder / name)
    _stop_a_run(folder)
    return folder


def _write_people(folder: Path) -> None:
    from ofmu.demo.people import make_examples, make_world
    from ofmu.demo.tiny_llama import make_config, make_tokenizer

    examples = make_examples(make_world(forgotten=1, retained=3, held_out=2))
    tokenizer = make_tokenizer(examples)
    tokenizer.save_pretrained(folder / "my-config")
    shape = make_config(tokenizer)
    shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers = 32, 64, 1
    shape.save_pretrained(folder / "my-config")
    sets = {name: [e for e in examples if e["split"] == name][::3] for name in ("forget", "retain", "holdout")}
    for name, rows in sets.items():
        _write_lines(folder / f"{name}.jsonl", rows)
    _write_lines(folder / "all.jsonl", [*sets["forget"], *sets["retain"]])
    (folder / "ids.txt").write_text("".join(f"{row['id']}\n" for row in sets["forget"]), encoding="utf-8")


def _write_images(folder: Path) -> None:
    """Digits 0 … 3, a folder per class; the classifier has random weights."""
    import torch
    from PIL import Image
    from sklearn.datasets import load_digits

    from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification

    pixels, labels = load_digits(n_class=4, return_X_y=True)
    for number, (image, label) in enumerate(zip(pixels[:160], labels[:160])):
        wrong = number < 16
        sets = ["wrong-images"] if wrong else ["good-images" if number < 120 else "test-images"]
        sets += ["one-class"] if label == 3 and not wrong else [] if wrong or number >= 120 else ["other-classes"]
        for name in sets:
            path = folder / name / str((label + wrong) % 4) / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image.reshape(8, 8) * 15).astype("uint8")).save(path)
    torch.manual_seed(0)
    shape = ConvNetConfig(num_labels=4, widths=(8, 8), hidden_size=16)
    ConvNetForImageClassification(shape).save_pretrained(folder / "my-classifier")


class _Stops:
    """Listens for a few steps, and then stops the run as Ctrl-C at an unlucky moment would."""

    def started(self, plan: dict[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...

    def step(self, line: dict[str, Any], total: int) -> None:
        if line["step"] == 5:
            raise KeyboardInterrupt


def _stop_a_run(folder: Path) -> None:
    import ofmu

    with pytest.raises(KeyboardInterrupt):
        ofmu.unlearn(
            str(folder / "my-model"),
            str(folder / "forget.jsonl"),
            str(folder / "retain.jsonl"),
            output=folder / "stopped",
            method="npo",
            steps=8,
            checkpoint_steps=2,
            listener=_Stops(),
        )


def _write_lines(path: Path, rows: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
