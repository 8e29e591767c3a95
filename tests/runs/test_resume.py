"""A run that is stopped in any way and resumed ends with the same bytes as one that was not."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch

from ofmu.cli.main import main
from toys import facts, write_lines

from .killing import LORA, Running, given, history, last_checkpoint, random_moment, same_but_time, weights

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    return given(tmp_path_factory.mktemp("given"))


def without_a_stop(words: list[object], run: Path) -> None:
    assert main(["unlearn", *map(str, words), "--output", str(run), "--quiet"]) == 0


def refused(capsys: pytest.CaptureFixture[str], *flags: object) -> str:
    capsys.readouterr()
    assert main(["unlearn", *map(str, flags)]) == 2
    return capsys.readouterr().err


def assert_same(run: Path, whole: Path, stopped_at: list[int]) -> None:
    assert weights(run) == weights(whole) != {}
    assert same_but_time(history(run), history(whole))  # each step once, and the last look at the end
    resumed_at = json.loads((run / "manifest.json").read_text())["resumed_at_steps"]
    assert resumed_at[-1] == stopped_at[-1]  # no step before the last checkpoint was taken again
    assert resumed_at == sorted(resumed_at)
    assert set(resumed_at) <= set(stopped_at)  # a stop before the next checkpoint leaves no trace
    assert not (run / "checkpoints").exists()


def test_interrupted_out_of_disk_and_killed_while_saving(
    words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    resume = ["--resume", run]
    stopped_at = []

    running = Running([*words, "--output", run], run, fresh=True)  # Ctrl-C
    assert running.wait_for(lambda found: found.steps() >= 3)
    running.send(signal.SIGINT)
    code, error = running.ended()
    assert code == 130, error
    stopped_at.append(last_checkpoint(run))
    assert stopped_at[-1] == len(history(run)) >= 3
    assert f"step-{stopped_at[-1]:08d}.pt" in error
    assert f"--resume {run}" in error

    data = Path(str(words[words.index("--forget") + 1]))
    kept = data.read_text()
    assert "seed is 1 (stored: 0)" in refused(capsys, *resume, "--seed", 1)
    write_lines(data, facts(range(20, 24)))
    assert "forget changed" in refused(capsys, *resume)
    data.write_text(kept)

    good = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    size = max(map(len, good.values()))
    code, error = Running(resume, run, file_limit=size // 2).ended()  # as with a full disk
    assert code == 1, error
    assert f"step-{stopped_at[-1]:08d}.pt is still good" in error
    assert {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()} == good

    running = Running(resume, run)
    assert running.kill_while_writing()
    assert list((run / "checkpoints").glob("*.tmp")) != []
    stopped_at.append(last_checkpoint(run))
    with (run / "history.jsonl").open("a") as file:
        file.write('{"step": 9')  # what a kill in the middle of a line leaves

    assert main(["unlearn", *map(str, resume), "--quiet"]) == 0
    without_a_stop(words, whole)
    assert_same(run, whole, stopped_at)


def test_a_run_under_way_is_not_resumed_beside_itself(
    words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lock is the process's own: it is gone with it, also after a kill, and what it did can go on."""
    run = tmp_path / "run"
    running = Running([*words, "--output", run], run)
    assert running.wait_for(lambda found: found.steps() >= 3)
    running.send(signal.SIGSTOP)  # alive, at work, and sure not to end while it is looked at
    before = {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert refused(capsys, "--resume", run).splitlines() == [
        f"ofmu: another process is at work in {run}; wait until it has ended, or give another folder"
    ]
    assert {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    running.kill()
    assert main(["unlearn", "--resume", str(run), "--quiet"]) == 0


def test_lora_with_near_retain_examples_killed_at_random_moments(words: list[object], tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    draw, stopped_at = random.Random(), []
    options = [*LORA, "--retain-sampling", "mixed"]
    start: list[object] = [*words, *options, "--output", run]
    for _ in range(2):
        name, moment = random_moment(draw, 14)
        running = Running(start, run)
        assert running.wait_for(moment, pause=draw.random() * 0.01), name
        running.kill()
        stopped_at.append(last_checkpoint(run))
        start = ["--resume", run]
    assert main(["unlearn", *map(str, start), "--quiet"]) == 0
    without_a_stop([*words, *options], whole)
    assert list(weights(run)) == ["adapter_model.safetensors"]
    assert_same(run, whole, stopped_at)


def test_killed_after_the_last_step_it_only_saves(
    words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything from the last step to the manifest may be cut off, and the cache of reference losses anywhere."""
    run = tmp_path / "run"
    short = [*words[: words.index("--steps")], "--steps", 4, "--checkpoint-steps", 2, "--method.objective.name", "npo"]

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(run / "metrics.json"))

    with monkeypatch.context() as patched:
        patched.setattr("ofmu.runs.unlearn.write_json", broken)
        assert main(["unlearn", *map(str, short), "--output", str(run), "--quiet"]) == 1
    assert "metrics.json" in capsys.readouterr().err
    assert (run / "model").is_dir()
    assert main(["verify", str(run)]) == 2  # nothing takes it for finished
    first = weights(run)
    shutil.rmtree(run / "cache")
    assert main(["unlearn", "--resume", str(run), "--quiet"]) == 0
    assert weights(run) == first
    assert [line["step"] for line in history(run)] == [1, 2, 3, 4, 4]


def test_weights_that_are_not_finite_are_never_a_checkpoint(
    words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    given_only = words[: words.index("--device") + 2]
    rate = ["--learning-rate", 1e37, "--steps", 30, "--checkpoint-steps", 1]
    assert main(["unlearn", "grad_ascent", *map(str, [*given_only, *rate, "--output", run])]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "step " in error
    assert "lower --learning-rate (it was 1e+37)" in error
    for path in (run / "checkpoints").glob("*.pt"):
        held = torch.load(path)["parameters"]
        assert all(torch.isfinite(value).all() for value in held.values()), path.name
    assert len(history(run)) < 30
