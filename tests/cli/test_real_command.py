"""The command as a process of its own: what it loads, signals, a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ofmu.cli.progress import Plain

from .command import Command, Flags, listing, words

OFMU = [sys.executable, "-m", "ofmu"]


def started(*line: object, before: Callable[[], None] | None = None, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(word) for word in line],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **more},
        preexec_fn=before,
    )


def test_help_version_and_import_load_no_torch():
    heavy = "{'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules)"
    code = f"""
import sys
import ofmu
assert not {heavy}
from ofmu.cli.main import main
for line in ("--help", "unlearn --help", "finetune --help", "evaluate --help", "verify --help", "--version"):
    assert main(line.split()) == 0, line
    assert not {heavy}, (line, {heavy})
"""
    process = started(sys.executable, "-c", code)
    out, err = process.communicate()
    assert process.returncode == 0, err
    for part in ("Usage: ofmu COMMAND", "unlearn ", "--lora.rank", "--epochs", "--original", "0.1.0"):
        assert part in out


def test_ctrl_c_leaves_a_checkpoint_and_exits_with_130(given: Flags, tmp_path: Path):
    process = started(*OFMU, "unlearn", "npo", *words(given | {"--steps": 100000}))
    assert process.stdout is not None
    assert any("step 1/" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert err.startswith("ofmu: interrupted; the checkpoint is ")
    assert err.endswith(f"; go on with: ofmu unlearn --resume {tmp_path / 'run'}\n")
    assert err.count("\n") == 1
    assert "manifest.json" not in listing(tmp_path / "run")


@pytest.mark.skipif(sys.platform == "darwin", reason="file-size limits are not kept there")
def test_a_full_disk_keeps_the_last_good_checkpoint_and_the_run_goes_on(
    ofmu: Command, given: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Plain, "step", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert ofmu("unlearn", "npo", *words(given | {"--steps": 3, "--checkpoint-steps": 1})).code == 130
    kept = listing(run / "checkpoints")
    assert "step-00000001.pt" in kept

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = started(*OFMU, "unlearn", "--resume", run, before=small_files)
    _, err = process.communicate()
    assert process.returncode == 1, err
    assert err.count("\n") == 1
    assert "the checkpoint of step 2 could not be written" in err
    assert "step-00000001.pt is still good" in err
    assert err.endswith(f"; go on with: ofmu unlearn --resume {run}\n")
    assert listing(run / "checkpoints") == kept
    ended = ofmu("unlearn", "--resume", run, "--quiet")
    assert (ended.code, ended.out) == (0, f"{run}\n")


@pytest.mark.skipif(sys.platform == "darwin", reason="file-size limits are not kept there")
def test_a_disk_that_is_full_for_the_model_only_leaves_a_run_that_goes_on(ofmu: Command, given: Flags, tmp_path: Path):
    """In this process: the limit holds for checkpoints of a small adapter, not for the merged model."""
    run = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        ended = ofmu("unlearn", "npo", *words(given | {"--lora.rank": 1, "--lora.merge": None}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ended.code == 1, ended
    assert "cannot write the model to" in ended.line
    assert "File too large" in ended.line
    assert ended.line.endswith(f"; go on with: ofmu unlearn --resume {run}")
    assert "manifest.json" not in listing(run)
    ended = ofmu("unlearn", "--resume", run, "--quiet")
    assert (ended.code, ended.out) == (0, f"{run}\n"), ended
