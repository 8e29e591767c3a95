"""What every method must do, run over all of them on a tiny language model and a tiny image classifier."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import fields
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import ofmu
from ofmu import methods
from ofmu.engine.processes import Processes, processes
from ofmu.engine.task import Task
from ofmu.errors import InputError
from ofmu.models.adapters import adapter_off, add_lora
from ofmu.models.loading import load
from ofmu.ranges import Range
from ofmu.runs import stored
from tasks import make_task, sets
from toys import convnet, facts, llama, save_llama, secrets, taught, tokenizer, unseen

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in methods.names()},
    "ofmu robust": ("ofmu", {"preset": "robust", "adversary_steps": 3}),
    "ofmu paper": ("ofmu", {"preset": "paper", "inner_steps": 2}),
    "ofmu paper, finite differences": (
        "ofmu",
        {"preset": "paper", "inner_steps": 2, "derivatives": "finite_difference"},
    ),
    "ofmu cosine": ("ofmu", {"similarity": "cosine", "retain_direction": "fresh", "rho": 0.1}),
    "ofmu squared_cosine": ("ofmu", {"similarity": "squared_cosine", "optimiser": "sgd", "rho": 0.1}),
    "ofmu none": ("ofmu", {"similarity": "none", "rho": 0.1, "optimiser_states": "two"}),
    "ofmu projected": ("ofmu", {"step": "projected", "inner_steps": 2, "outer_steps": 2}),
    "ofmu npo": ("ofmu", {"objective": {"name": "npo"}}),
    "ofmu token_level": ("ofmu", {"objective": {"name": "token_level", "sides": "one"}}),
    "ofmu nll": ("ofmu", {"objective": {"name": "nll"}}),
    "grad_diff kl": ("grad_diff", {"retain": "kl"}),
    "npo kl": ("npo", {"retain": "kl"}),
    "simnpo kl": ("simnpo", {"retain": "kl"}),
}
STEPS = 3


def make(variant: str) -> Any:
    name, options = VARIANTS[variant]
    return stored.build("unlearn", {"model": "m", "method": {"name": name, **options}}).method.resolved()


@pytest.fixture
def ranks() -> Iterator[Processes]:
    with processes(device="cpu", precision="fp32", parallel="auto") as found:
        yield found


@cache
def taught_llama() -> nn.Module:
    return taught(llama(), [*secrets(), *facts(range(9))], steps=15)


@cache
def taught_convnet() -> nn.Module:
    model, data = convnet(), sets("image")
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    batches = [found.batch(range(len(found))) for found in data.values()]
    for _ in range(15):
        optimiser.zero_grad()
        sum(cross_entropy(model(b.pixel_values).logits, b.labels) for b in batches).backward()
        optimiser.step()
    optimiser.zero_grad()
    return model


def model_for(modality: str = "text") -> nn.Module:
    return copy.deepcopy(taught_llama() if modality == "text" else taught_convnet())


def bits(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def unlearned(task: Task, method: Any, steps: int = STEPS) -> None:
    process = method.start(task)
    for _ in range(steps):
        record = process.step()
        task.pace.step += 1
        assert record.forget_loss is not None
        assert math.isfinite(record.forget_loss)


@pytest.mark.parametrize("modality", ["text", "image"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_forgets_the_same_way_each_time_and_leaves_alone_what_is_frozen(
    variant: str, modality: str, ranks: Processes
) -> None:
    method, ends = make(variant), []
    for _ in range(2):
        model = model_for(modality)
        frozen = [name for number, name in enumerate(dict(model.named_parameters())) if number % 4 == 1]
        for name, p in model.named_parameters():
            p.requires_grad_(name not in frozen)
        before = bits(model)
        gentle = 1e-1 if getattr(method, "optimiser", None) == "sgd" else 2e-3
        task = make_task(model, ranks, modality=modality, method=method, learning_rate=gentle)
        first = task.check()
        unlearned(task, method)
        assert task.check().forget_loss > first.forget_loss
        assert all(torch.equal(bits(model)[name], before[name]) for name in frozen)
        assert not same(bits(model), before)
        assert all(p.grad is None for p in model.parameters())
        assert not model.training
        if task.reference_model is not None:
            assert same(bits(task.reference_model), before)
            assert all(p.grad is None for p in task.reference_model.parameters())
        ends.append(bits(model))
    assert same(*ends)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_process_goes_on_bit_for_bit(variant: str, ranks: Processes) -> None:
    method, model = make(variant), model_for()
    task = make_task(model, ranks, method=method, learning_rate=1e-3)
    process = method.start(task)
    for _ in range(2):
        process.step()
        task.pace.step += 1
    held = {"task": task.state_dict(), "process": process.state_dict(), "weights": bits(model)}
    kept = torch.utils._pytree.tree_map_only(Tensor, Tensor.clone, held)
    process.step()
    other = model_for()
    again = make_task(other, ranks, method=method, learning_rate=1e-3)
    started = method.start(again)
    other.load_state_dict(kept["weights"])
    again.load_state_dict(kept["task"])
    started.load_state_dict(kept["process"])
    started.step()
    assert same(bits(model), bits(other))
    assert again.meter.state_dict() == task.meter.state_dict()


@pytest.mark.parametrize("variant", VARIANTS)
def test_lora_trains_the_adapter_alone_and_refers_to_the_model_without_it(variant: str, ranks: Processes) -> None:
    method, model = make(variant), model_for()
    before = bits(model)
    torch.manual_seed(0)
    adapted = add_lora(load(model, tokenizer=tokenizer()), 2).model
    task = make_task(adapted, ranks, method=method, adapter_off=partial(adapter_off, adapted))
    assert task.reference_model is None
    unlearned(task, method)
    after = {name.replace("base_model.model.", "").replace(".base_layer", ""): v for name, v in bits(adapted).items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    trained = [value for name, value in bits(adapted).items() if "lora_B" in name]
    assert any(float(value.abs().sum()) > 0 for value in trained)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_round_without_conflict_costs_what_was_planned(variant: str, ranks: Processes) -> None:
    """Finite differences may take more in the first product of a kind, while they look for its step."""
    method = make(variant)
    task = make_task(llama(), ranks, method=method, learning_rate=1e-4, batch_size=4)
    process = method.start(task)
    for _ in range(2):
        process.step()
    before = task.meter.gradients
    record = process.step()
    conflict = method.name == "ofmu" and method.similarity == "squared_hinge" and record.more["beta"]
    if not conflict and getattr(method, "derivatives", None) != "exact":
        assert task.meter.gradients - before == method.gradients_a_step()
    assert task.meter.gradients > before


def ranged(kind: type) -> Iterator[tuple[str, Range]]:
    import typing

    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        for part in (hint, *typing.get_args(hint)):
            yield from ((name, extra) for extra in getattr(part, "__metadata__", ()) if isinstance(extra, Range))


@pytest.mark.parametrize("name", methods.names())
def test_options_out_of_range_are_refused_with_the_range(name: str) -> None:
    kind = methods.find(name)
    options = list(ranged(kind))
    assert options
    for option, allowed in options:
        low, high = (-1e9, 1e9)
        bad = low if allowed.ge is not None or allowed.gt is not None else high
        with pytest.raises(InputError, match=rf"method\.{option} is .* but must be "):
            stored.build("unlearn", {"model": "m", "method": {"name": name, option: bad}})
    first = fields(kind)[0].name
    with pytest.raises(InputError, match=rf"did you mean 'method\.{first}'"):
        stored.build("unlearn", {"model": "m", "method": {"name": name, first + "x": 1}})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("name", methods.names())
def test_a_whole_run_with_lora_saves_an_adapter_that_loads(name: str, saved: Path, tmp_path: Path) -> None:
    run = ofmu.unlearn(
        str(saved),
        secrets(),
        facts(range(9)),
        holdout=unseen(),
        method=name,
        output=tmp_path / "run",
        lora={"rank": 2},
        steps=2,
        batch_size=4,
        device="cpu",
    )
    assert [line["step"] for line in run.history][:2] == [1, 2]
    assert (run.path / "model" / "adapter_model.safetensors").is_file()
    adapted = load(str(run.path / "model")).model
    tokens = torch.arange(3, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(adapted(tokens).logits, run.model(tokens).logits, atol=1e-5, rtol=1e-4)
