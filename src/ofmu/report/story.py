"""What the demo hands to the report: methods side by side, and which of them came nearest to the target."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ofmu.report.words import finite

Direction = Literal["up", "down", "as_retrained"]
Kind = Literal["before", "method", "retrained"]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its standard deviation; None is "not measured", never 0.

    Args:
        mean: mean over seeds.
        spread: standard deviation over seeds, None for a single seed.
        reason: why there is no mean.
    """

    mean: float | None
    spread: float | None = None
    reason: str | None = None

    @classmethod
    def over(cls, values: Sequence[float]) -> Estimate:
        """Mean and sample standard deviation of one value a seed.

        >>> Estimate.over([0.5, 1.0])
        Estimate(mean=0.75, spread=0.3535533905932738, reason=None)
        """
        if not values:
            return cls(None, reason="no seed was run")
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class StoryColumn:
    """A measured quantity of the comparison.

    Args:
        key: its key in :attr:`MethodRow.values`.
        title: what a reader sees.
        direction: up, down, or as_retrained: best is the retrained model's value.
        target: the value to reach; by default the retrained row's for as_retrained.
    """

    key: str
    title: str
    direction: Direction = "as_retrained"
    target: float | None = None


@dataclass(frozen=True)
class MethodRow:
    """One line of the comparison: the model before, one method's models, or the retrained models.

    Args:
        method: name as the user types it, or words for the two reference rows.
        values: estimate of every column that was measured.
        gradients: gradient evaluations spent, the mean over seeds.
        seconds: wall-clock seconds, the mean over seeds.
        kind: before and retrained rows are references and cannot win.
    """

    method: str
    values: Mapping[str, Estimate]
    gradients: float | None = None
    seconds: float | None = None
    kind: Kind = "method"


@dataclass(frozen=True)
class ShownExample:
    """An example that the user asked to see (``--show-examples``).

    Args:
        id: its id, as in the table of best remembered and worst damaged examples.
        content: its text, or the bytes of a PNG image.
        before: what the model said before, or its loss then.
        after: the same after unlearning.
        retrained: the same of the retrained model, where there is one.
        set: forget, retain, holdout or test.
        truth: the right answer, where it is not part of the content.
    """

    id: str
    content: str | bytes
    before: str | float | None
    after: str | float | None
    retrained: str | float | None = None
    set: str = "forget"
    truth: str | None = None


@dataclass(frozen=True)
class Plane:
    """The forget–retain plane of a story.

    Args:
        forget_label: horizontal axis, e.g. "loss on the forgotten examples".
        retain_label: vertical axis.
        paths: course of every method, points (forget, retain) from start to end.
        target: the retrained model's point.
    """

    forget_label: str
    retain_label: str
    paths: Mapping[str, Sequence[tuple[float, float]]]
    target: tuple[float, float] | None = None


@dataclass(frozen=True)
class Story:
    """One experiment of the demo.

    Args:
        name: short title.
        question: the question that it answers, in words; may hold several paragraphs, parted by empty lines.
        columns: what is compared.
        rows: before, methods, retrained, in the order to be shown.
        verdict: the outcome in one sentence.
        seeds: number of seeds behind every row.
        ours: the method whose rivals the others are.
        plane: course of the methods, if recorded.
        distributions: role → set → per-example losses of ``ours``, if recorded.
        shown: examples to look at.
    """

    name: str
    question: str
    columns: Sequence[StoryColumn]
    rows: Sequence[MethodRow]
    verdict: str
    seeds: int = 1
    ours: str = "ofmu"
    plane: Plane | None = None
    distributions: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    shown: Sequence[ShownExample] = ()

    def target(self, column: StoryColumn) -> Estimate | None:
        """What a method should reach in a column: its stated target, else the retrained row's estimate."""
        if column.target is not None:
            return Estimate(column.target)
        for row in self.rows:
            if row.kind == "retrained" and column.direction == "as_retrained":
                return row.values.get(column.key)
        return None

    def best(self, column: StoryColumn) -> frozenset[str]:
        """Names of the methods that did best in a column; several where noise does not tell them apart.

        A method ties with the best if it is worse by no more than the larger of the target's and the best
        method's standard deviations over seeds. Without a target (as_retrained and nothing retrained) nobody
        is best.
        """
        distances = {row.method: self._distance(row, column) for row in self.rows if row.kind == "method"}
        known = {method: distance for method, distance in distances.items() if distance is not None}
        if not known:
            return frozenset()
        winner = min(known, key=lambda method: known[method])
        noise = max(self._noise(winner, column), 1e-9 * abs(known[winner]))
        return frozenset(method for method, distance in known.items() if distance - known[winner] <= noise)

    def _distance(self, row: MethodRow, column: StoryColumn) -> float | None:
        estimate = row.values.get(column.key)
        value = finite(estimate.mean) if estimate else None
        if value is None:
            return None
        if column.direction != "as_retrained":
            return -value if column.direction == "up" else value
        target = self.target(column)
        goal = finite(target.mean) if target else None
        return None if goal is None else abs(value - goal)

    def _noise(self, winner: str, column: StoryColumn) -> float:
        target = self.target(column)
        rows = [row.values.get(column.key) for row in self.rows if row.method == winner]
        return max((finite(each.spread) or 0.0 for each in [target, *rows] if each), default=0.0)

    def standing(self) -> str:
        """Who was best at what, in words, whoever it was.

        Returns:
            One sentence a group of columns, naming rivals that win or tie.
        """
        sentences = []
        for column in self.columns:
            best = self.best(column)
            if not best:
                sentences.append(f"{column.title}: nobody is marked best, as there is no target.")
            elif best == {self.ours}:
                sentences.append(f"{column.title}: {self.ours} is best.")
            elif self.ours in best:
                rivals = ", ".join(row.method for row in self.rows if row.method in best - {self.ours})
                sentences.append(f"{column.title}: {self.ours} is level with {rivals}.")
            else:
                rivals = ", ".join(row.method for row in self.rows if row.method in best)
                rival = "a rival is" if len(best) == 1 else "rivals are"
                sentences.append(f"{column.title}: {rival} better than {self.ours}: {rivals}.")
        return " ".join(sentences)
