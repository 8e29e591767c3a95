"""Configurations: from values of three kinds to one object, and to YAML and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from ofmu.engine.objective import Objective
from ofmu.errors import InputError
from ofmu.methods.npo import NPO
from ofmu.methods.ofmu import OFMU, PRESETS
from ofmu.runs import stored
from ofmu.runs.config import Evaluate, Finetune, Lora, Unlearn

SETS = {"model": "m", "forget": "f.jsonl", "retain": "r.jsonl"}


def refused(values: dict, command: str = "unlearn", source: str = "") -> str:
    with pytest.raises(InputError) as caught:
        stored.build(command, values, source=source)
    text = str(caught.value)
    assert "\n" not in text
    return text


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# In


def test_values_of_all_types_become_what_the_options_declare():
    config = stored.build(
        "unlearn",
        SETS
        | {
            "seed": "3",
            "batch-size": 1e1,
            "learning_rate": "1e-3",
            "budget": 7,
            "lora": {"rank": 8, "merge": True, "targets": ["q_proj"]},
            "retrained": "one",
            "precision": "bf16",
            "tokenizer": Path("t"),
            "method": {"name": "ofmu", "beta": "1e-2", "objective": {"name": "npo"}, "guard": False},
        },
    )
    assert isinstance(config, Unlearn)
    assert (config.seed, config.batch_size, config.learning_rate, config.budget) == (3, 10, 1e-3, 7.0)
    assert type(config.batch_size) is int
    assert type(config.budget) is float
    assert config.lora == Lora(rank=8, merge=True, targets=("q_proj",))
    assert config.retrained == ("one",)
    assert str(config.tokenizer) == "t"
    assert config.method == OFMU(beta=1e-2, objective=Objective(name="npo"), guard=False)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, OFMU()),
        ("npo", NPO()),
        ({"beta": 0.2}, OFMU(beta=0.2)),
        ({"name": "npo", "beta": 0.2}, NPO(beta=0.2)),
        (NPO(beta=0.3), NPO(beta=0.3)),
        ("ofmu.methods.npo:NPO", NPO()),
    ],
)
def test_a_method_comes_as_name_mapping_object_or_place(given: object, wanted: object):
    assert stored.build("unlearn", SETS | {"method": given}).method == wanted


def test_null_is_the_same_as_left_out():
    values = SETS | {"lora": None, "batch_size": None, "method": None, "retrained": None, "lora.rank": None}
    del values["lora.rank"]
    assert stored.build("unlearn", values) == stored.build("unlearn", SETS)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"sed": 1}, "unknown option 'sed' (did you mean 'seed'?)"),
        ({"lora": {"rnk": 1}}, "unknown option 'lora.rnk' (did you mean 'lora.rank'?); there are: lora.alpha"),
        ({"method": {"name": "npo", "bta": 1}}, "unknown option of npo 'method.bta' (did you mean 'method.beta'?)"),
        ({"method": "nop"}, "unknown method 'nop' (did you mean 'npo'?); there are: "),
        ({"method": 3}, "method is int 3, but must be a name, or a name with its options"),
        ({"method": "ofmu.runs.config:Lora"}, "'ofmu.runs.config:Lora' is no method"),
        ({"method": "no_such_module:X"}, "method 'no_such_module:X' cannot be loaded"),
        ({"seed": "many"}, "seed is 'many', but must be a whole number"),
        ({"seed": 1.5}, "seed is 1.5, but must be a whole number"),
        ({"seed": True}, "seed is True, but must be a whole number"),
        ({"budget": [1]}, "budget is [1], but must be a number"),
        ({"allow_overlap": "yes"}, "allow_overlap is 'yes', but must be true or false"),
        ({"lora": 8}, "lora is 8, but must hold options: rank, alpha, targets, merge"),
        ({"lora": {"targets": [1]}}, "lora.targets[0] is 1, but must be text"),
        ({"precision": "fp16"}, "precision is 'fp16', but must be one of fp32, bf16 (did you mean 'bf16'?)"),
        ({"batch_size": 0}, "batch_size is 0, but must be >= 1"),
        ({"lora": {"rank": 0}}, "lora.rank is 0, but must be >= 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, but must be a finite number > 0"),
        ({"learning_rate": "inf"}, "learning_rate is inf, but must be a finite number > 0"),
        ({"method": {"name": "npo", "beta": -1}}, "method.beta is -1, but must be > 0"),
        ({"method": {"objective": {"width": 0}}}, "method.objective.width is 0, but must be > 0"),
        ({"output": "x"}, "'output' is not part of a configuration; give --output"),
        ({"command": "finetune"}, "this is a configuration of 'ofmu finetune', not of 'ofmu unlearn'"),
        ({"model": None, "forget": {"in_memory": "ab12"}}, "forget was in memory"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_is_allowed(more: dict, said: str):
    text = refused(SETS | more, source="run.yaml")
    assert text.startswith("run.yaml: ")
    assert said in text


def test_a_missing_required_option_is_named_with_its_flag():
    assert "'model' is missing; give --model" in refused({"forget": "f"})
    assert "'data' is missing; give --data" in refused({"model": "m"}, "finetune")


def test_check_asks_for_nothing_that_is_not_there():
    stored.check("unlearn", {"seed": 1})
    with pytest.raises(InputError, match=r"a\.yaml: seed is -1, but must be >= 0"):
        stored.check("unlearn", {"seed": -1}, source="a.yaml")


# Merging


def test_values_above_win_and_nested_ones_are_merged_one_by_one():
    below = {"seed": 1, "steps": 5, "lora": {"rank": 4, "alpha": 2.0}}
    assert stored.merge(below, {"seed": 2, "lora": {"rank": 8}}) == {
        "seed": 2,
        "steps": 5,
        "lora": {"rank": 8, "alpha": 2.0},
    }


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ("npo", {"beta": 1}, {"name": "npo", "beta": 1}),
        ({"name": "npo", "beta": 1, "alpha": 3}, {"name": "npo", "beta": 2}, {"name": "npo", "beta": 2, "alpha": 3}),
        ({"name": "npo", "beta": 1}, {"name": "simnpo"}, {"name": "simnpo"}),
        (None, {"beta": 1}, {"name": "ofmu", "beta": 1}),
    ],
)
def test_options_of_another_method_do_not_leak_into_the_one_chosen(below: object, above: object, merged: object):
    assert stored.merge({"method": below}, {"method": above})["method"] == merged


def test_what_was_in_memory_is_replaced_by_a_flag():
    below = SETS | {"model": {"in_memory": "ab12"}}
    assert stored.build("unlearn", stored.merge(below, {"model": "elsewhere"})).model == "elsewhere"


# Out, and back


@pytest.mark.parametrize(
    "config",
    [
        Unlearn(
            model="org/name",
            forget="f",
            retain="r",
            retrained=("a", "b"),
            method=NPO(beta=1e-05),
            learning_rate=1e-05,
            lora=Lora(rank=8, targets=("q",)),
        ),
        Finetune(model="m", data="d", epochs=1.5),
        Evaluate(model="m", forget="f", retain="r", original="o", precision="bf16"),
    ],
)
def test_a_configuration_comes_back_from_its_yaml(config: stored.Config, tmp_path: Path):
    text = stored.to_yaml(config)
    assert text.startswith(f"command: {type(config).__name__.lower()}\nofmu: ")
    assert stored.from_yaml(written(tmp_path, text)) == config


def test_a_stored_method_is_complete_presets_filled_in(tmp_path: Path):
    config = stored.build("unlearn", SETS | {"method": {"preset": "paper", "beta": 0.5}})
    values = yaml.safe_load(stored.to_yaml(config))["method"]
    assert values["beta"] == 0.5
    assert values["rho_growth"] == PRESETS["paper"]["rho_growth"]
    assert {name for name, value in values.items() if value is None} == set()
    again = stored.from_yaml(written(tmp_path, stored.to_yaml(config)))
    assert again.method == config.method.resolved()
    assert stored.to_yaml(again) == stored.to_yaml(config)


def test_paths_that_exist_are_stored_absolute_and_names_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "f.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    values = stored.plain(stored.build("unlearn", SETS | {"forget": Path("f.jsonl"), "model": "org/name"}))
    assert values["forget"] == str(tmp_path / "f.jsonl")
    assert values["model"] == "org/name"
    assert values["retain"] == "r.jsonl"


def test_what_is_in_memory_is_stored_by_its_hash_and_cannot_be_read_again():
    rows = [{"question": "q", "answer": "a"}]
    config = stored.build("unlearn", SETS | {"forget": rows, "model": np.zeros(2)})
    values = stored.plain(config, {"forget": "c0ffee"})
    assert values["forget"] == {"in_memory": "c0ffee"}
    assert values["model"] == {"in_memory": "ndarray"}
    assert "forget was in memory when this configuration was stored (c0ffee)" in refused(values | {"model": "m"})


def test_a_method_of_another_package_is_stored_by_its_place():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Own(NPO):
        pass

    assert stored.plain_method(Own())["name"].endswith("Own")
    assert ":" in stored.plain_method(Own())["name"]


def test_differences_name_option_and_both_values_and_leave_out_what_may_change():
    old = stored.build("unlearn", SETS | {"seed": 0, "micro_batch_size": 8})
    new = stored.build("unlearn", SETS | {"seed": 1, "micro_batch_size": 2, "method": {"beta": 0.7}})
    found = stored.differences(old, new)
    assert [line.split(" is ")[0] for line in found] == ["seed", "method.beta"]
    assert found[0] == "seed is 1 (stored: 0)"
    assert stored.differences(old, old) == []


# Files


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nmodel: [a\nsteps: 2\n", "run.yaml, line 3: not valid YAML: "),
        ("seed: 1\nseed: 2\n", "run.yaml, line 2: not valid YAML: 'seed' is given twice"),
        ("- a\n- b\n", "run.yaml: expected options as 'name: value', found a list"),
        ("1: 2\n", "run.yaml: expected options as 'name: value', found keys that are no text"),
        ("model: !!python/object/apply:os.getcwd []\n", "not valid YAML: could not determine a constructor"),
        ("a: \x00\n", "run.yaml: not valid YAML"),
    ],
)
def test_a_bad_file_is_named_with_its_line(text: str, said: str, tmp_path: Path):
    with pytest.raises(InputError) as caught:
        stored.read(written(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_folder_and_bytes_are_named(tmp_path: Path):
    (tmp_path / "latin.yaml").write_bytes(b"model: caf\xe9\n")
    for name, said in {
        "none.yaml": "cannot be read: No such file or directory",
        ".": "cannot be read: Is a directory",
        "latin.yaml": "is not UTF-8 text (byte 10)",
    }.items():
        with pytest.raises(InputError) as caught:
            stored.read(tmp_path / name)
        assert said in str(caught.value)
        assert str(tmp_path) in str(caught.value)


def test_an_empty_file_gives_no_values_and_one_without_command_cannot_stand_alone(tmp_path: Path):
    path = written(tmp_path, "# nothing\n")
    assert stored.read(path) == {}
    with pytest.raises(InputError, match="'command' is None, but must be one of unlearn, finetune, evaluate"):
        stored.from_yaml(path)
