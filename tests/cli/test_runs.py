"""Commands that work, in this process: what they write, print and go on with."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from ofmu.cli import main as entry
from ofmu.cli.progress import Plain
from ofmu.report.story import Estimate, MethodRow, Story, StoryColumn

from .command import Command, Ended, Flags, facts, listing, without, words, write_lines


@pytest.fixture(scope="module")
def finished(model: Path, forget: Path, retain: Path, folder: Path) -> Path:
    """A run of two steps of NPO, made once."""
    output = folder / "finished"
    flags = {"--model": model, "--forget": forget, "--retain": retain, "--output": output, "--device": "cpu"}
    more = {"--steps": 2, "--batch-size": 2, "--method.beta": 0.2, "--quiet": None}
    assert entry.main(["unlearn", "npo", *map(str, words(flags | more))]) == 0
    return output


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


# Ending well


def test_a_run_says_its_plan_its_steps_its_table_and_where_everything_is(ofmu: Command, given: Flags, tmp_path: Path):
    ended = ofmu("unlearn", "npo", *words(given))
    assert ended.code == 0, ended.err
    assert ended.err == ""
    for part in ("npo on ", "step 1/2 · forget loss ", "step 2/2 · ", "| measured ", "Verdict: ", "cost: 4 gradients"):
        assert part in ended.out
    assert "\x1b" not in ended.out
    run = tmp_path / "run"
    assert ended.out.splitlines()[-2:] == [f"model: {run / 'model'}", f"report: {run / 'report.html'}"]


def test_quiet_is_the_path_alone_and_json_one_object(
    ofmu: Command, given: Flags, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    quiet = ofmu("unlearn", "npo", *words(given | {"--quiet": None}))
    assert (quiet.out, quiet.err) == (f"{tmp_path / 'run'}\n", "")
    again = {"--config": finished / "config.yaml", "--output": tmp_path / "again", "--json": None}
    ended = ofmu("unlearn", *words(again))
    assert ended.code == 0, ended.err
    assert ended.object["output"] == str(tmp_path / "again")
    assert ended.object["metrics"] == json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert "Verdict: " in ended.err
    one, two = weights(finished), weights(tmp_path / "again")
    assert all(torch.equal(one[name], two[name]) for name in one)  # a stored configuration repeats the run


def test_flags_win_over_the_file_and_both_are_stored(ofmu: Command, given: Flags, tmp_path: Path):
    file = tmp_path / "run.yaml"
    method = {"name": "npo", "beta": 0.2, "alpha": 2.0}
    file.write_text(yaml.safe_dump({"seed": 5, "batch-size": 3, "lora": {"rank": 2}, "method": method}))
    ended = ofmu(
        "unlearn", *words(given | {"--config": file, "--method.beta": 0.5, "--lora.merge": None, "--quiet": None})
    )
    assert ended.code == 0, ended.err
    stored = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (stored["command"], stored["seed"], stored["batch_size"]) == ("unlearn", 5, 2)
    assert stored["lora"] == {"rank": 2, "alpha": None, "targets": None, "merge": True}
    assert (stored["method"]["name"], stored["method"]["beta"], stored["method"]["alpha"]) == ("npo", 0.5, 2.0)
    assert "output" not in stored
    assert "model.safetensors" in listing(tmp_path / "run" / "model")


def test_clusters_that_were_guessed_are_named_and_can_be_switched_off(ofmu: Command, given: Flags, tmp_path: Path):
    rows = [{"question": f"Has Ada King met {n}?", "answer": "Yes."} for n in range(20)]
    flags = given | {"--forget": write_lines(tmp_path / "ada.jsonl", rows)}
    ended = ofmu("unlearn", *words(flags | {"--steps": 1}))
    note = "hat belongs together was recognised by content in: forget (20 rows in a row about one name are one cluster)"
    assert f"w{note}" in ended.out
    assert "examples: forget 20 in 1 cluster, retain 10\n" in ended.out
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"W{note}; --cluster-by COLUMN says it, --cluster-by none makes each example its own." in page
    ended = ofmu("unlearn", *words(flags | {"--dry-run": None, "--cluster-by": "none", "--output": tmp_path / "new"}))
    assert ended.code == 0, ended.err
    assert "recognised" not in ended.out
    assert "examples: forget 20, retain 10\n" in ended.out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"--budget": 4}, "about 2 steps of 2 examples, learning rate "),
        ({"--budget": 400, "--steps": 2}, "at most 2 steps of 2 examples, learning rate "),
    ],
)
def test_a_plan_by_a_budget_is_an_estimate(flags: Flags, said: str, ofmu: Command, given: Flags):
    kept = without(given, "--steps") if "--steps" not in flags else given
    chosen = kept | flags | {"--dry-run": None}
    ended = ofmu("unlearn", *words(chosen))
    assert ended.code == 0, ended.err
    (course,) = [line for line in ended.out.splitlines() if " steps of " in line]
    assert course.startswith(said)
    assert course.endswith("until 4 gradients are spent" if "about" in said else "about 4 gradients")


def test_a_dry_run_checks_plans_and_writes_nothing(ofmu: Command, given: Flags, tmp_path: Path):
    ended = ofmu("unlearn", *words(given | {"--dry-run": None, "--json": None}))
    assert ended.code == 0, ended.err
    assert ended.object["plan"]["steps"] == 2
    assert ended.object["plan"]["examples"] == {"forget": 4, "retain": 10}
    assert "nothing was written" in ended.err
    assert listing(tmp_path) == []


def test_a_dry_run_says_how_many_retain_examples_are_near_and_what_finding_them_takes(
    ofmu: Command, given: Flags, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ofmu.runs.plan._seconds_of_a_gradient", lambda _: 3.0)
    plain = ofmu("unlearn", *words(given | {"--dry-run": None, "--json": None})).object["plan"]
    near = ofmu("unlearn", *words(given | {"--dry-run": None, "--json": None, "--retain-sampling": "mixed"}))
    assert near.object["plan"]["seconds"] == plain["seconds"] + 5 * 1.0  # ten examples, two at a time, a third of 3 s
    assert "2 of 10 retain examples count as near the forget set" in near.err


def test_what_was_cut_is_a_warning_with_a_count(ofmu: Command, given: Flags, tmp_path: Path):
    long = [{"id": "long", "question": "Who? " * 60, "answer": "Nobody."}, *facts(range(2))]
    cut = write_lines(tmp_path / "long.jsonl", long)
    ended = ofmu("unlearn", *words(given | {"--forget": cut, "--dry-run": None}))
    assert ended.code == 0, ended.err
    assert "1 of 3 forget examples" in ended.out


def test_finetune_from_random_weights_then_evaluate(
    ofmu: Command, given: Flags, model: Path, forget: Path, retain: Path, tmp_path: Path
):
    trained = {"--model": model / "config.json", "--tokenizer": model, "--data": retain, "--output": tmp_path / "t"}
    ended = ofmu("finetune", *words(trained | {"--steps": 2, "--batch-size": 4, "--device": "cpu"}))
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1] == f"model: {tmp_path / 't' / 'model'}"
    measured = {"--model": tmp_path / "t" / "model", "--forget": forget, "--retain": retain, "--original": model}
    ended = ofmu("evaluate", *words(measured | {"--output": tmp_path / "e", "--json": None}))
    assert ended.code == 0, ended.err
    assert {score["role"] for score in ended.object["metrics"]["scores"]} >= {"original", "unlearned"}
    assert listing(tmp_path / "e" / "model") == []


def test_verify_finds_what_was_changed_and_report_draws_beside_the_run(
    ofmu: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert ofmu("verify", finished).code == 0
    ended = ofmu("report", finished, "--output", "new.html", "--quiet")
    assert (ended.code, ended.out) == (0, "new.html\n")
    assert ofmu("verify", finished, "--quiet").out == f"{finished}\n"
    copy = Path(shutil.copytree(finished, "copy"))
    (copy / "history.jsonl").write_text("")
    (copy / "extra").touch()
    ended = ofmu("verify", copy, "--json")
    assert ended.code == 1
    assert ended.object["problems"] == ["extra: not in the manifest", "history.jsonl: changed"]
    assert "copy: history.jsonl: changed" in ended.err


# Ending early


def test_interrupted_run_goes_on_with_the_command_it_names(
    ofmu: Command, given: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert ofmu("unlearn", "npo", *words(given | {"--output": whole, "--steps": 4})).code == 0
    said = Plain.step
    with monkeypatch.context() as patched:

        def and_kill(self: Plain, line: dict, total: int) -> None:
            said(self, line, total)
            if line["step"] == 2:
                os.kill(os.getpid(), signal.SIGTERM)

        patched.setattr(Plain, "step", and_kill)
        ended = ofmu("unlearn", "npo", *words(given | {"--steps": 4}))
    assert ended.code == 130
    assert "interrupted; the checkpoint is " in ended.line
    on = f"ofmu unlearn --resume {run}"
    assert ended.line.endswith(f"go on with: {on}")

    other = ofmu("unlearn", "npo", *words(given | {"--steps": 4}))
    assert other.code == 2
    assert "--resume" in other.line
    refused = ofmu("unlearn", "--resume", run, "--seed", 1, "--method.beta", 0.7)
    assert refused.code == 2
    assert "seed is 1 (stored: 0); method.beta is 0.7 (stored: 0.1)" in refused.line
    refused = ofmu("unlearn", "simnpo", "--resume", run)
    assert refused.code == 2
    assert "method.name is 'simnpo' (stored: 'npo')" in refused.line

    ended = ofmu(*shlex.split(on)[1:])
    assert ended.code == 0, ended.err
    assert "step 3/4 · " in ended.out
    assert "step 2/4 · " not in ended.out
    one, two = weights(whole), weights(run)
    assert all(torch.equal(one[name], two[name]) for name in one)
    ended = ofmu(*shlex.split(on)[1:])
    assert ended.code == 2
    assert "has finished" in ended.line


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    ofmu: Command, given: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, whole = tmp_path / "run", tmp_path / "whole"
    flags = given | {"--steps": 4, "--checkpoint-steps": 1}
    assert ofmu("unlearn", "npo", *words(flags | {"--output": whole})).code == 0

    def stop(self: Plain, line: dict, total: int) -> None:
        if line["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Plain, "step", stop)
        assert ofmu("unlearn", "npo", *words(flags)).code == 130
    older, newest = sorted((run / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    lost = Path(shutil.copytree(run, tmp_path / "lost"))
    ended = ofmu("unlearn", "--resume", run)
    assert ended.code == 0, ended.err
    assert "step 3/4 · " in ended.out
    assert "step 2/4 · " not in ended.out
    one, two = weights(whole), weights(run)
    assert all(torch.equal(one[name], two[name]) for name in one)

    (lost / "checkpoints" / older.name).write_bytes(b"")
    ended = ofmu("unlearn", "--resume", lost)
    assert ended.code == 2
    assert ended.line == (
        f"ofmu: no checkpoint in {lost / 'checkpoints'} can be read, so that this run cannot go on; "
        f"start again with another --output, or remove {lost} first"
    )
    ended = ofmu("unlearn", "npo", *words(flags | {"--output": lost}))
    assert ended.code == 2
    assert ended.line.endswith("go on with --resume, give another folder, or remove this one first")


def test_divergence_names_the_step_what_to_lower_and_the_checkpoint(ofmu: Command, given: Flags, tmp_path: Path):
    ended = ofmu(
        *("unlearn", "grad_ascent", "--json"),
        *words(given | {"--steps": 30, "--learning-rate": 1e18, "--checkpoint-steps": 1}),
    )
    assert ended.code == 1
    line = ended.object["error"]["message"]
    assert "step " in line
    assert "--learning-rate" in line
    assert "checkpoint" in line
    assert "smaller" not in line  # one piece of advice is enough
    assert ended.err.splitlines()[-1] == f"ofmu: {line}"
    assert listing(tmp_path / "run" / "checkpoints") != []


def test_other_data_is_refused_on_resume(ofmu: Command, given: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = write_lines(tmp_path / "forget.jsonl", facts(range(4)))

    def stop(self: Plain, line: dict, total: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Plain, "step", stop)
        assert ofmu("unlearn", *words(given | {"--forget": data})).code == 130
    write_lines(data, facts(range(1, 4)))
    ended = ofmu("unlearn", "--resume", tmp_path / "run")
    assert ended.code == 2
    assert "forget changed" in ended.line


def test_an_unexpected_error_is_one_line_and_a_hint(ofmu: Command, given: Flags, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("ofmu.runs.unlearn.unlearn", broken)
    ended = ofmu("unlearn", *words(given))
    assert ended.code == 1
    assert ended.line == "ofmu: KeyError: 'lost' (OFMU_TRACEBACK=1 shows where)"
    monkeypatch.setenv("OFMU_TRACEBACK", "1")
    assert "Traceback" in ofmu("unlearn", *words(given)).err


# Beside the runs


def test_completion_knows_every_command_and_option(ofmu: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert ofmu("--install-completion", "--shell", "bash").code == 0
    script = next(path for path in tmp_path.rglob("completions/ofmu")).read_text()
    for word in ("unlearn", "verify", "--lora.rank", "--method.lambda-eff", "--epochs", "bf16"):
        assert word in script


def test_pages_about_methods_and_metrics(ofmu: Command):
    every = ofmu("methods", "--json").object["methods"]
    assert {"ofmu", "grad_ascent", "grad_diff", "npo", "simnpo"} <= {method["name"] for method in every}
    page = ofmu("methods", "npo").out
    for part in ("−(2/β) log σ", "arXiv 2404.05868", "no second model", "--method.beta  number [default 0.1; > 0]"):
        assert part in page
    options = {option["flag"]: option for option in ofmu("methods", "ofmu", "--json").object["options"]}
    assert options["--method.objective.name"]["type"].startswith("auto | level")
    shown = ofmu("unlearn", "simnpo", "--help").out
    assert "--method.delta" in shown
    assert "default 4.5; > 0" in shown
    assert "mia_loss" in ofmu("metrics").out
    page = ofmu("metrics", "mia_loss").out
    for part in ("AUC", "needs: ", "better: as the retrained model"):
        assert part in page


def test_the_demo_prints_every_story_and_ends_with_the_path_of_its_page(
    ofmu: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With stories that are told at once; the real ones have tests of their own."""
    rows = [
        MethodRow("before", {"x": Estimate(1.0)}, kind="before"),
        MethodRow("npo", {"x": Estimate(0.2)}, gradients=8, seconds=1.0),
    ]
    story = Story("Digits", "Do they go?", [StoryColumn("x", "accuracy", target=0.1)], rows, "npo came nearest")
    stories = types.ModuleType("ofmu.demo.stories")
    told: list[dict] = []

    def tell(*, note: Callable[[str], None], **options: object) -> Iterator[Story]:
        told.append(options)
        note("training")
        yield story

    monkeypatch.setattr(stories, "tell", tell, raising=False)
    monkeypatch.setitem(sys.modules, "ofmu.demo.stories", stories)
    page = tmp_path / "page.html"
    ended = ofmu("demo", "--quick", "--seed", 3, "--output", page)
    assert ended.code == 0, ended.err
    assert told == [{"quick": True, "seed": 3, "seeds": 1}]
    assert "npo came nearest" in ended.out
    assert ended.out.splitlines()[-1] == str(page)
    assert "Do they go?" in page.read_text()
    found = ofmu("demo", "--json", "--output", page).object
    assert found["stories"][0]["rows"][1]["values"] == {"x": {"mean": 0.2, "spread": None, "reason": None}}
    for flag, value, said in (
        ("--output", tmp_path / "no" / "page.html", "there is no folder"),
        ("--seeds", 0, "--seeds is 0 and must be >= 1"),
    ):
        ended = ofmu("demo", flag, value)
        assert ended.code == 2
        assert said in ended.line


def test_of_several_processes_one_speaks(ofmu: Command, finished: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    assert ofmu("verify", finished) == Ended(0, "", "")
    assert ofmu("verify", "no/run", "--json") == Ended(2, "", "")
    monkeypatch.setattr("ofmu.runs.manifest.verify", lambda run: 1 / 0)
    assert ofmu("verify", finished).line.startswith("ofmu, process 1: ZeroDivisionError: ")


# A terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("colours", [True, False])
def test_a_terminal_gets_a_live_line_and_colours_only_if_wanted(
    colours: bool, given: Flags, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    assert entry.main(["unlearn", "npo", *map(str, words(given))]) == 0
    text = screen.getvalue()
    assert "2/2" in text
    assert "gradients 4" in text
    assert ("\x1b[1m" in text) or not colours
    assert ("\x1b[3" in text) == colours  # foreground colours are 30 to 38
