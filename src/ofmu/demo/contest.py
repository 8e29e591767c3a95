"""Methods side by side on one story: equal gradients, equal data, one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import nn

from ofmu.demo.measure import Measured
from ofmu.report.story import Estimate, MethodRow, Plane, Story, StoryColumn
from ofmu.runs.python import finetune, unlearn
from ofmu.runs.result import Result

METHODS = ("ofmu", "grad_ascent", "grad_diff", "npo", "simnpo")


class Gauge(Protocol):
    """Measures a model of a story."""

    def __call__(self, model: nn.Module) -> Measured:
        """The story's quantities."""
        ...

    def losses(self, model: nn.Module) -> dict[str, list[float]]:
        """Set → loss of each example, in nats."""
        ...


@dataclass(frozen=True)
class Contest:
    """One story before it is told.

    Args:
        name: short title.
        question: what it asks, in words.
        columns: what is compared.
        gauge: measures a model.
        fresh: a model with random weights, under the seed given.
        train: what the model before is trained on.
        sets: forget, retain, holdout as `unlearn` takes them; `retain` is what retraining sees.
        training: options of `finetune`.
        options: options of `unlearn`, the same for every method.
        methods: who takes part.
    """

    name: str
    question: str
    columns: Sequence[StoryColumn]
    gauge: Gauge
    fresh: Callable[[int], nn.Module]
    train: Any
    sets: dict[str, Any]
    training: dict[str, Any]
    options: dict[str, Any]
    methods: Sequence[str] = METHODS


@dataclass
class Tally:
    """Values over the seeds of one row."""

    values: list[Measured] = field(default_factory=list)
    gradients: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def row(self, name: str, kind: str, keys: Sequence[str]) -> MethodRow:
        """The row of a table."""
        estimates = {key: Estimate.over([found[key] for found in self.values]) for key in keys}
        return MethodRow(
            name,
            estimates,
            sum(self.gradients) / len(self.gradients) if self.gradients else None,
            sum(self.seconds) / len(self.seconds) if self.seconds else None,
            kind,  # pyright: ignore[reportArgumentType]
        )


def hold(contest: Contest, seeds: Sequence[int], tell: Callable[[str], None]) -> Story:
    """Train before and retrained, let every method forget, measure all of them.

    Args:
        contest: the story.
        seeds: one whole repetition each.
        tell: is told what is going on.
    """
    tallies = {name: Tally() for name in ("before", *contest.methods, "retrained")}
    paths: dict[str, list[tuple[float, float]]] = {}
    losses: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        before = _trained(contest, contest.train, seed, tallies["before"], tell, "the model before")
        retrained = _trained(contest, contest.sets["retain"], seed, tallies["retrained"], tell, "retrained")
        if seed == seeds[0]:
            losses = {"original": contest.gauge.losses(before), "retrained": contest.gauge.losses(retrained)}
        for method in contest.methods:
            model = contest.fresh(seed)
            model.load_state_dict(before.state_dict())
            tell(f"{contest.name}: {method} forgets (seed {seed})")
            run = unlearn(model, method=method, seed=seed, evaluation=False, **contest.sets, **contest.options)
            tally = tallies[method]
            tally.values.append(contest.gauge(run.model))
            tally.gradients.append(run.manifest["gradients"])
            tally.seconds.append(run.manifest["seconds"])
            if seed == seeds[0]:
                paths[method] = _course(run)
                if method == "ofmu":
                    losses["unlearned"] = contest.gauge.losses(run.model)
    keys = [column.key for column in contest.columns]
    kinds = {"before": "before", "retrained": "retrained"}
    rows = [tally.row(name, kinds.get(name, "method"), keys) for name, tally in tallies.items()]
    story = Story(
        contest.name,
        contest.question,
        contest.columns,
        rows,
        "",
        seeds=len(seeds),
        plane=Plane("loss on watched forget examples", "loss on watched retain examples", paths),
        distributions=losses,
    )
    return _with_verdict(story)


def _trained(contest: Contest, data: Any, seed: int, tally: Tally, tell: Callable[[str], None], what: str) -> nn.Module:
    tell(f"{contest.name}: training {what} (seed {seed})")
    run = finetune(contest.fresh(seed), data, seed=seed, **contest.training)
    tally.values.append(contest.gauge(run.model))
    tally.gradients.append(run.manifest["gradients"])
    tally.seconds.append(run.manifest["seconds"])
    return run.model


def _course(run: Result) -> list[tuple[float, float]]:
    checks = [line["checks"] for line in run.history if line.get("checks")]
    return [(check["forget_loss"], check["retain_loss"]) for check in checks]


def _with_verdict(story: Story) -> Story:
    """What OFMU reached beside what retraining reaches; which method won a column is said with the table."""
    rows = {row.method: row for row in story.rows}
    if story.ours not in rows:
        return story
    parts = [
        f"{column.title} {_figure(rows[story.ours], column)} (retrained {_figure(rows['retrained'], column)})"
        for column in story.columns
    ]
    return replace(story, verdict=f"OFMU: {'; '.join(parts)}.")


def _figure(row: MethodRow, column: StoryColumn) -> str:
    mean = row.values[column.key].mean
    return "not measured" if mean is None else f"{mean:.3f}"


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A model whose random weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
