"""Flags before and after parsing, options as they are shown, time left, lines for a pipe, the end in a line."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from cyclopts import App

from ofmu.cli import flags, options, words
from ofmu.cli.failures import Stopped, exit_code, interrupted, reason, underway
from ofmu.cli.plans import plan_lines
from ofmu.cli.progress import Plain, TimeLeft, figures
from ofmu.errors import InputError, RunError
from ofmu.methods.ofmu import OFMU
from ofmu.runs.config import Evaluate, Finetune, Unlearn
from ofmu.runs.listener import Interrupted

SWITCHES = {"--lora.merge", "--method.guard", "--resume"}


# Words


@pytest.mark.parametrize(
    ("given", "places"),
    [
        (["npo", "--seed", "1"], ["npo"]),
        (["--seed", "1", "npo"], ["npo"]),
        (["--lora.merge", "npo"], ["npo"]),
        (["--lora.no-merge", "npo"], ["npo"]),
        (["--no-method.guard", "npo"], ["npo"]),
        (["--model=x", "npo", "-h"], ["npo"]),
        (["--method.beta", "-1"], []),
        (["--seed"], []),
    ],
)
def test_words_that_belong_to_no_flag_are_found_wherever_they_stand(given: list[str], places: list[str]):
    assert words.read(given, SWITCHES).places == places


def test_values_are_read_with_and_without_equals_the_last_one_wins():
    read = words.read(["--config", "a", "--output=b=c", "--config", "d"], SWITCHES)
    assert read.values == {"--config": "d", "--output": "b=c"}


@pytest.mark.parametrize(
    ("given", "spelt"),
    [
        (["--resume", "RUN"], ["--resume", "--output", "RUN"]),
        (["--resume=RUN"], ["--resume", "--output", "RUN"]),
        (["--resume", "--output", "RUN"], ["--resume", "--output", "RUN"]),
        (["npo", "--resume", "RUN"], ["npo", "--resume", "--output", "RUN"]),
        (["--resume", "npo", "--output", "RUN"], ["--resume", "npo", "--output", "RUN"]),
        (["--output", "RUN", "--resume"], ["--output", "RUN", "--resume"]),
    ],
)
def test_resume_may_take_the_run(given: list[str], spelt: list[str]):
    assert words.spell_out_resume(given, ["npo"]) == spelt


def test_a_folder_named_like_a_method_is_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "npo").mkdir()
    assert words.spell_out_resume(["--resume", "npo"], ["npo"]) == ["--resume", "--output", "npo"]


@pytest.mark.parametrize(
    ("given", "joined"),
    [
        (["--lora.merge"], ["--lora.merge=true"]),
        (["--lora.merge", "off"], ["--lora.merge=false"]),
        (["--lora.merge=no"], ["--lora.merge=false"]),
        (["--lora.no-merge", "npo"], ["--lora.merge=false", "npo"]),
        (["--no-lora.merge", "npo"], ["--lora.merge=false", "npo"]),
        (["--no-resume"], ["--resume=false"]),
        (["--lora.merge", "npo", "on"], ["--lora.merge=true", "npo", "on"]),
        (["--seed", "on"], ["--seed", "on"]),
        (["--no-such"], ["--no-such"]),
    ],
)
def test_a_switch_may_be_turned_off_in_three_ways(given: list[str], joined: list[str]):
    assert words.join_switches(given, SWITCHES) == joined


# Options


def test_every_option_of_every_command_has_a_text():
    for kind in (Unlearn, Finetune, Evaluate, flags.Told):
        for option in options.options(kind):
            assert option.text, f"{kind.__name__}.{option.path}"


def test_options_know_type_default_range_and_choices_of_nested_dataclasses():
    found = {option.path: option for option in options.options(Unlearn)}
    assert found["lora.rank"].kind is int
    assert found["lora.rank"].limits == "[>= 1]"
    assert found["batch_size"].flag == "--batch-size"
    assert found["batch_size"].limits == "[default 16; >= 1]"
    assert found["seed"].limits == "[default 0; >= 0 and <= 1e+09]"
    assert found["precision"].choices == ("fp32", "bf16")
    assert found["retrained"].kind == list[str]
    assert found["allow_overlap"].limits == ""


def test_presets_show_as_defaults():
    found = {option.path: option for option in options.options(OFMU, "method.", OFMU(preset="paper").resolved())}
    assert found["method.rho_growth"].limits == "[default 1.05; >= 1]"
    assert found["method.guard"].limits == ""  # off
    of_default = {option.path: option for option in options.options(OFMU, "", OFMU().resolved())}
    assert of_default["guard"].limits == "[default on]"
    assert found["method.objective.name"].default == "nll"


def test_only_what_was_given_comes_back_nested():
    seen: list[flags.Given] = []

    def run(given: flags.Given) -> int:
        seen.append(given)
        return 0

    found = [*options.options(Unlearn), *flags.told_options()]
    app = App(result_action="return_value")
    app.default(flags.command(found, run, text="x", place="METHOD", place_text="y"))
    line = "npo --lora.rank 8 --seed 0 --retrained a --retrained b --output o --quiet=true"
    app(line.split())
    assert seen == [
        flags.Given(
            ("npo",),
            {"lora": {"rank": 8}, "seed": 0, "retrained": ["a", "b"]},
            flags.Told(output="o", quiet=True),
        )
    ]


@pytest.mark.parametrize(
    ("word", "number"), [("2.0", 2), ("1e3", 1000), ("-3", -3), ("9007199254740993", 9007199254740993)]
)
def test_whole_numbers_are_read_as_in_a_file_and_never_rounded(word: str, number: int):
    seen: list[flags.Given] = []
    app = App(result_action="return_value")
    app.default(flags.command(options.options(Unlearn), lambda given: seen.append(given) or 0, text="x"))
    app(["--seed", word])
    assert seen[0].values == {"seed": number}


# Progress


def test_time_left_goes_by_the_steps_taken_now_not_by_those_of_an_earlier_run():
    now = iter([100.0, 102.0, 104.0])
    left = TimeLeft(lambda: next(now))
    assert left.after(50, 60) is None
    assert left.after(51, 60) == pytest.approx(18.0)
    assert left.after(52, 60) == pytest.approx(16.0)


def test_a_pipe_gets_a_line_every_few_seconds_the_first_and_the_last():
    said: list[str] = []
    now = [0.0]
    with Plain(said.append, lambda: now[0]) as plain:
        for step in range(1, 13):
            plain.step({"step": step, "forget_loss": 1.0, "rho": None, "gradients": 2 * step}, 12)
            now[0] += 1.0
    assert [line.split(" ·")[0] for line in said] == ["step 1/12", "step 6/12", "step 11/12", "step 12/12"]
    assert said[1] == "step 6/12 · forget loss 1.000 · gradients 12 · 6.0 s left"


def test_a_training_has_one_loss():
    assert figures({"forget_loss": None, "retain_loss": 2.0, "gradients": 1.0}, None) == "loss 2.000 · gradients 1"


def test_a_note_comes_after_the_steps_before_it():
    said: list[str] = []
    plain = Plain(said.append, lambda: 0.0)
    plain.step({"step": 1}, 2)
    plain.step({"step": 2}, 2)
    plain.note("saving")
    assert [line.split(" ·")[0] for line in said] == ["step 1/2", "step 2/2", "saving"]


def test_a_plan_is_told_without_what_it_does_not_say():
    lines = plan_lines({"model": "m", "modality": "text", "parameters": 12345, "steps": 3, "batch_size": 2,
                        "micro_batch_size": 2, "learning_rate": 1e-3, "examples": {"forget": 4}})  # fmt: skip
    assert lines == [
        "m: text, 12,345 parameters",
        "examples: forget 4",
        "at most 3 steps of 2 examples, learning rate 0.0010",
    ]
    (*_, course) = plan_lines({"model": "m", "modality": "text", "steps": 1, "batch_size": 1, "micro_batch_size": 1,
                               "learning_rate": 1e-3, "gradients": 40.0, "budget": 40.0})  # fmt: skip
    assert course == "about 1 step of 1 example, learning rate 0.0010, until 40 gradients are spent"


def test_one_cluster_is_no_clusters():
    assert "examples: forget 20 in 1 cluster, retain 8 in 4 clusters" in plan_lines(
        {
            "model": "m",
            "modality": "text",
            "examples": {"forget": 20, "retain": 8},
            "clusters": {"forget": 1, "retain": 4},
        }
    )


# Endings


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("no\nsuch  file"), 2, "no such file"),
        (RunError("step 3: the loss is nan"), 1, "step 3: the loss is nan"),
        (OSError(errno.ENOSPC, "x", "a/b"), 1, "a/b: the disk is full"),
        (OSError(errno.EFBIG, "x"), 1, "the file may not grow larger"),
        (ValueError("I/O error: No space left on device (os error 28)"), 1, "the disk is full"),
        (MemoryError(), 1, "out of memory; try a smaller --micro-batch-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out of memory; try"),
        (KeyError("x\x1b[31m"), 1, "KeyError: 'x\\x1b[31m' (OFMU_TRACEBACK=1 shows where)"),
        (ValueError("\x1b[31mred"), 1, "ValueError: ␛[31mred (OFMU_TRACEBACK=1 shows where)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_everything_ends_in_one_line_and_a_code(error: BaseException, code: int, line: str):
    assert exit_code(error) == code
    assert reason(error).startswith(line)
    assert "\n" not in reason(error)


def test_an_accelerator_out_of_memory_is_told_as_such():
    import torch

    assert reason(torch.OutOfMemoryError("CUDA out of memory")).startswith("out of memory; try")


def test_a_failure_on_the_way_says_what_goes_on_with_the_run(tmp_path: Path):
    run = tmp_path / "a run"
    with pytest.raises(Stopped) as nothing_yet, underway("unlearn", run):
        raise RunError("diverged")
    assert str(nothing_yet.value) == "diverged"
    run.mkdir()
    (run / "config.yaml").touch()
    with pytest.raises(Stopped) as stopped, underway("unlearn", run):
        raise RunError("diverged")
    assert str(stopped.value) == f"diverged; go on with: ofmu unlearn --resume '{run}'"
    assert stopped.value.code == 1
    with pytest.raises(Stopped) as stopped, underway("unlearn", run):
        raise RunError("step 3: the loss is nan; lower --learning-rate")
    assert str(stopped.value).endswith("lower --learning-rate")  # as it is, it would diverge again


def test_an_interrupted_run_says_where_its_checkpoint_is(tmp_path: Path):
    with pytest.raises(Stopped) as stopped, underway("finetune", tmp_path):
        raise Interrupted(tmp_path / "checkpoints" / "step-3.pt")
    assert stopped.value.code == 130
    assert str(stopped.value) == (
        f"interrupted; the checkpoint is {tmp_path}/checkpoints/step-3.pt; "
        f"go on with: ofmu finetune --resume {tmp_path}"
    )
    assert interrupted("unlearn", tmp_path / "none", None) == (
        "interrupted before the run had begun; nothing was written"
    )


def test_input_errors_pass_through_a_run_unchanged(tmp_path: Path):
    with pytest.raises(InputError, match=r"^no such file$"), underway("unlearn", tmp_path):
        raise InputError("no such file")
