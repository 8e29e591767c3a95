"""``ofmu attack`` on runs of a few kilobytes: what it writes, keeps, refuses and says."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ofmu.cli import main as entry
from ofmu.evaluation.attacks.relearning import Relearning
from ofmu.evaluation.attacks.sampling import DrawnAnswers
from ofmu.runs.attack import attack
from toys import convnet, pictures

from .command import Command, Flags, facts, listing, without, words, write_lines


@pytest.fixture(scope="module")
def asked(model: Path, folder: Path) -> Flags:
    """Flags of an evaluation with everything that attacks want; every fact is a cluster of its own."""
    rows = facts(range(12))
    for row in rows:
        row["paraphrased_question"] = f"In what town is the home of {row['id']}?"
    return {
        "--model": model,
        "--forget": write_lines(folder / "attacked-forget.jsonl", rows),
        "--retain": write_lines(folder / "attacked-retain.jsonl", facts(range(20, 32))),
        "--holdout": write_lines(folder / "attacked-holdout.jsonl", facts(range(40, 52))),
        "--original": model,
        "--retrained": model,
        "--device": "cpu",
        "--quiet": None,
    }


@pytest.fixture(scope="module")
def run(asked: Flags, folder: Path) -> Path:
    """An evaluation of a model against itself."""
    output = folder / "attacked-run"
    assert entry.main(["evaluate", *map(str, words(asked | {"--output": output}))]) == 0
    return output


@pytest.fixture(scope="module")
def attacked(run: Path) -> Path:
    """All attacks on it, made once."""
    before = listing(run)
    assert entry.main(["attack", str(run), "--seeds", "1", "--quiet"]) == 0
    assert listing(run) == before
    return run.with_name("attacked-run-attacks")


def found(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "attacks.json").read_text())


def test_every_attack_is_made_and_the_folder_verifies(attacked: Path, ofmu: Command):
    findings = found(attacked)
    assert list(findings["attacks"]) == ["relearning", "quantisation", "prompts", "logit_lens", "probe"]
    assert findings["left_out"] == {}
    assert all(each["figures"] for each in findings["attacks"].values())
    assert set(findings["models"]) == {"unlearned", "original", "retrained"}
    assert ofmu("verify", attacked).code == 0


def test_a_model_against_itself_has_no_gap_and_nothing_to_recover(attacked: Path):
    findings = found(attacked)
    for each in findings["attacks"].values():
        for figure in each["figures"]:
            assert figure["gap"] == 0, figure
            assert figure["recovery"] is None
    relearnt = findings["attacks"]["relearning"]["figures"][0]["details"]
    assert relearnt["area"] == 0
    headline = findings["attacks"]["relearning"]["headline"]
    assert headline["value"] is None
    assert "the same on these examples" in headline["reason"]


def test_the_variants_and_the_measures_are_those_of_the_definition(attacked: Path):
    findings = found(attacked)["attacks"]
    variants = {name: list(dict.fromkeys(f["variant"] for f in each["figures"])) for name, each in findings.items()}
    assert variants["quantisation"] == ["int8", "int4", "nf4"]
    assert variants["prompts"] == ["rephrased", "template", "prefix", "few_shot", "first_k", "worst"]
    assert variants["relearning"] == ["cluster, r 0.02", "5%, r 0.02"]
    measures = {figure["measure"] for figure in findings["quantisation"]["figures"]}
    assert {"forget_probability", "retain_probability", "holdout_probability", "mia_loss"} <= measures
    (worst,) = [f for f in findings["prompts"]["figures"] if f["variant"] == "worst"]
    for figure in findings["prompts"]["figures"]:
        if figure["measure"] == "forget_probability":
            assert figure["after"]["unlearned"] <= worst["after"]["unlearned"] + 1e-12
            assert figure["before"]["unlearned"] <= worst["after"]["unlearned"] + 1e-12


def test_curves_have_what_a_drawing_needs(attacked: Path):
    curves = found(attacked)["attacks"]["relearning"]["curves"]
    assert {(curve["role"], curve["taught"]) for curve in curves} == {
        (role, taught) for role in ("unlearned", "original", "retrained") for taught in ("cluster", "5%")
    }
    for curve in curves:
        assert curve["steps"][0] == 0
        assert curve["steps"][-1] == 64
        for key in ("loss", "prob", "taught_loss", "taught_prob"):
            assert len(curve[key]) == len(curve["steps"])
        assert curve["taught_loss"][-1] < curve["taught_loss"][0]  # what is taught is learnt
    first, second = (
        [c["loss"] for c in curves if c["taught"] == "cluster" and c["role"] == role]
        for role in ("unlearned", "retrained")
    )
    assert first == second  # the same model, taught the same in the same order


def test_what_is_there_is_not_done_again_and_more_is_added(
    attacked: Path, run: Path, ofmu: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    copy = tmp_path / "attacks"
    assert ofmu("attack", run, "quantisation", "--seeds", 1, "--output", copy, "--quiet").code == 0
    ended = ofmu("attack", run, "logit_lens", "--seeds", 1, "--output", copy)
    assert ended.code == 0, ended.err
    assert "unlearned model: logit_lens" in ended.out
    assert "quantisation" not in [line.split(": ")[-1] for line in ended.out.splitlines()]
    assert list(found(copy)["attacks"]) == ["quantisation", "logit_lens"]
    for name in ("quantisation", "logit_lens"):
        assert found(copy)["attacks"][name] == found(attacked)["attacks"][name]


def test_a_stopped_attack_goes_on(run: Path, tmp_path: Path, ofmu: Command, monkeypatch: pytest.MonkeyPatch):
    from ofmu.evaluation.attacks import logit_lens

    def stop(*given: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    output = tmp_path / "attacks"
    with monkeypatch.context() as patch:
        patch.setattr(logit_lens.LogitLens, "run", stop)
        ended = ofmu("attack", run, "quantisation", "logit_lens", "--seeds", 1, "--output", output)
    assert ended.code == 130
    assert "the same command goes on" in ended.err
    assert not (output / "manifest.json").exists()
    ended = ofmu("attack", run, "quantisation", "logit_lens", "--seeds", 1, "--output", output)
    assert ended.code == 0
    assert "unlearned model: quantisation" not in ended.out
    assert "unlearned model: logit_lens" in ended.out


def test_json_is_one_object_and_words_say_the_table(run: Path, tmp_path: Path, ofmu: Command):
    ended = ofmu("attack", run, "quantisation", "--seeds", 1, "--output", tmp_path / "a", "--json")
    assert ended.code == 0
    assert ended.object["findings"] == found(tmp_path / "a")
    assert "retain probability" in ended.err
    ended = ofmu("attack", run, "quantisation", "--seeds", 1, "--output", tmp_path / "a", "--quiet")
    assert (ended.out, ended.err) == (f"{tmp_path / 'a'}\n", "")


def test_without_a_retrained_model_it_says_that_nothing_can_be_compared(asked: Flags, tmp_path: Path, ofmu: Command):
    flags = without(asked, "--retrained", "--holdout") | {"--output": tmp_path / "run"}
    assert ofmu("evaluate", *words(flags)).code == 0
    ended = ofmu("attack", tmp_path / "run", "--seeds", 1)
    assert ended.code == 0, ended.err
    assert "note: no retrained model: nothing can be compared with retraining" in ended.out
    assert "probe: not done, no holdout set" in ended.out
    assert "relearning gap: not measured (no retrained model)" in ended.out
    findings = found(tmp_path / "run-attacks")
    assert all(figure["gap"] is None for each in findings["attacks"].values() for figure in each["figures"])
    assert ofmu("attack", tmp_path / "run", "probe", "--output", tmp_path / "other").code == 2


def test_an_unlearning_run_is_attacked_at_its_own_model(given: Flags, tmp_path: Path, ofmu: Command, model: Path):
    assert ofmu("unlearn", "npo", *words(given | {"--retrained": model, "--lora.rank": 2, "--quiet": None})).code == 0
    done = attack(given["--output"], [Relearning(taught=("cluster", "all", "retain"), steps=2)], seeds=[0])  # type: ignore[arg-type]
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert done.findings["models"]["unlearned"] == manifest["model_after"]
    assert done.findings["models"]["original"] == done.findings["models"]["retrained"] == manifest["inputs"]["model"]
    curves = done.findings["attacks"]["relearning"]["curves"]
    assert {(curve["taught"], bool(curve["loss"]), bool(curve["taught_loss"])) for curve in curves} == {
        ("cluster", True, True),
        ("all", False, True),
        ("retain", True, False),
    }


REFUSED: Mapping[str, tuple[list[str], str]] = {
    "an attack that does not exist": (
        ["RUN", "quantization"],
        "unknown attack 'quantization' (did you mean 'quantisation'?); there are: ",
    ),
    "no folder": (["MISSING"], "is not a folder; give the folder of a finished run"),
    "no run": (["EMPTY"], "holds no run of ofmu (no config.yaml); give the folder of a finished run"),
    "a stopped run": (["STOPPED"], "was stopped before its end (no manifest.json); finish it first"),
    "attacks themselves": (["ATTACKS"], "holds attacks themselves; give the folder of the run"),
    "the run as output": (["RUN", "--output", "RUN"], "is the run itself, which is never changed"),
    "another run's attacks as output": (["STOPPED-NOT", "--output", "ATTACKS"], "holds attacks on another run"),
    "something else as output": (["RUN", "--output", "OTHER"], "holds something else"),
    "no seed": (["RUN", "--seeds", "0"], "--seeds is 0, but must be >= 1"),
    "a module that is not there": (["RUN", "no_such:Attack"], "attack 'no_such:Attack' cannot be loaded"),
    "a class that is no attack": (["RUN", "pathlib:Path"], "'pathlib:Path' is no attack"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_said_in_one_line(case: str, run: Path, attacked: Path, tmp_path: Path, ofmu: Command):
    for name in ("EMPTY", "OTHER"):
        (tmp_path / name).mkdir()
    (tmp_path / "OTHER" / "mine.txt").write_text("mine")
    for name in ("STOPPED", "STOPPED-NOT"):
        shutil.copytree(run, tmp_path / name)
    (tmp_path / "STOPPED" / "manifest.json").unlink()
    places = {"RUN": run, "ATTACKS": attacked} | {
        name: tmp_path / name for name in ("EMPTY", "OTHER", "STOPPED", "STOPPED-NOT", "MISSING")
    }
    given, line = REFUSED[case]
    ended = ofmu("attack", *(places.get(word, word) for word in given))
    assert ended.code == 2
    assert line in ended.line
    assert not tmp_path.joinpath("STOPPED-attacks").exists()


def test_a_changed_model_is_refused(run: Path, tmp_path: Path, ofmu: Command, model: Path):
    import torch
    from transformers import AutoModelForCausalLM

    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    other = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        other.lm_head.weight.add_(1.0)
    shutil.copytree(model, tmp_path / "model")
    other.save_pretrained(tmp_path / "model")
    config = yaml.safe_load((moved / "config.yaml").read_text())
    (moved / "config.yaml").write_text(yaml.safe_dump(config | {"model": str(tmp_path / "model")}))
    ended = ofmu("attack", moved, "quantisation")
    assert ended.code == 2
    assert "has changed since the run in" in ended.line


def test_a_removed_class_of_images_is_probed_and_its_head_refit(tmp_path: Path, ofmu: Command):
    convnet().save_pretrained(tmp_path / "convnet")
    images, labels = pictures(240, seed=0)
    more, unseen = pictures(160, seed=1)
    sets = {"forget": (images, labels, labels == 3), "retain": (images, labels, labels != 3)}
    for name, (pixels, classes, chosen) in {**sets, "test": (more, unseen, unseen >= 0)}.items():
        np.savez(tmp_path / f"{name}.npz", images=pixels[chosen], labels=classes[chosen])
    flags = {f"--{name}": tmp_path / f"{name}.npz" for name in ("forget", "retain", "test")}
    flags |= {f"--{role}": tmp_path / "convnet" for role in ("model", "original", "retrained")}
    more_flags = {"--output": tmp_path / "run", "--device": "cpu", "--quiet": None}
    assert ofmu("evaluate", *words(flags | more_flags)).code == 0
    ended = ofmu("attack", tmp_path / "run", "probe", "quantisation", "--json")
    assert ended.code == 0, ended.err
    attacks = ended.object["findings"]["attacks"]
    probe = {figure["measure"]: figure for figure in attacks["probe"]["figures"]}
    assert set(probe) == {"probe_auc", "forget_accuracy_of_refit_head", "retain_accuracy_of_refit_head"}
    assert probe["probe_auc"]["variant"].endswith("against test")
    assert probe["retain_accuracy_of_refit_head"]["after"]["unlearned"] > 0.3  # by chance a tenth
    assert {"forget_accuracy", "test_accuracy"} <= {figure["measure"] for figure in attacks["quantisation"]["figures"]}
    assert all(figure["gap"] == 0 for each in attacks.values() for figure in each["figures"])
    ended = ofmu("attack", tmp_path / "run", "prompts")
    assert (ended.code, ended.line) == (2, "ofmu: attack 'prompts' cannot be done here: it is for language models")


def test_an_attack_that_does_not_fit_the_model_is_left_out_unless_it_was_named(
    run: Path, tmp_path: Path, ofmu: Command, monkeypatch: pytest.MonkeyPatch
):
    from ofmu.evaluation import residual_stream

    monkeypatch.setattr(residual_stream, "FINAL_NORMS", ())
    monkeypatch.setattr("ofmu.evaluation.attacks.OWN", {"logit_lens": "LogitLens", "quantisation": "Quantisation"})
    ended = ofmu("attack", run, "--output", tmp_path / "all")
    assert ended.code == 0, ended.err
    assert "logit_lens: not done, LlamaForCausalLM: its final norm cannot be told beside its blocks" in ended.out
    assert list(found(tmp_path / "all")["attacks"]) == ["quantisation"]
    ended = ofmu("attack", run, "logit_lens", "--output", tmp_path / "named")
    assert ended.code == 2
    assert "LlamaForCausalLM: its final norm cannot be told" in ended.err


def test_answers_are_drawn_when_asked_for(run: Path, tmp_path: Path):
    done = attack(run, [DrawnAnswers(samples=4, questions=3, max_new_tokens=4)], tmp_path / "out", seeds=[0])
    (first, second) = done.findings["attacks"]["sampling"]["figures"]
    assert [first["variant"], second["variant"]] == ["leak@1", "leak@2"]
    assert 0 <= first["after"]["unlearned"] <= second["after"]["unlearned"] <= 1
    assert first["gap"] == 0
    assert first["details"]["upper_bound"]["unlearned"] > first["after"]["unlearned"]


def test_drawn_answers_are_as_long_as_the_context_allows(run: Path, tmp_path: Path):
    done = attack(run, [DrawnAnswers(samples=2, questions=1)], tmp_path / "out", seeds=[0])  # 64 tokens, context 48
    assert done.findings["attacks"]["sampling"]["figures"]


def test_an_attack_that_does_nothing_brings_nothing_back(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The attack of the documentation, without its noise: before and after are measured on the same examples."""
    page = Path(__file__).parents[2] / "docs/how-to/own-metric.md"
    code = re.search(r"```python noise\.py\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert code
    (tmp_path / "noise.py").write_text(code[1].replace("share: float = 0.05", "share: float = 0.0"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "noise", raising=False)  # the page's own, with its noise, from another test
    done = attack(run, ["noise:Noise"], tmp_path / "out", seeds=[0])
    figures = done.findings["attacks"]["noise:Noise"]["figures"]
    assert "forget_loss" in [figure["measure"] for figure in figures]
    for figure in figures:
        assert figure["after"] == figure["before"], figure["measure"]


def test_an_attack_of_ones_own_is_found(run: Path, tmp_path: Path, ofmu: Command, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_attack.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    ended = ofmu("attack", run, "own_attack:Halved", "--output", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    (figure,) = ended.object["findings"]["attacks"]["own_attack:Halved"]["figures"]
    assert figure["after"] == {"unlearned": 0.5, "original": 0.5, "retrained": 0.5}


OWN = '''
from dataclasses import dataclass

from ofmu.evaluation.attack import Attacked, Findings, ModelAttack, figure


@dataclass(frozen=True)
class Halved(ModelAttack):
    """Says one half."""

    share: float = 0.5

    def run(self, target):
        return Attacked({"value": self.share})

    def compare(self, attacked, compared):
        return Findings((figure("own", "half", {}, {role: each.facts["value"] for role, each in attacked.items()}),))
'''
