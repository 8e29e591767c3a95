"""What an attack after unlearning is: something done to one model, the same to every model, and what it brings back.

A file ``attacks/<name>.py`` with one class adds an attack; a package elsewhere adds one through the entry-point group
``ofmu.attacks``. (A membership attack, which is a metric on records alone, is :class:`ofmu.evaluation.metric.Attack`.)

Legend: m_u, m_o, m_r a measure of the unlearned, original and retrained model; m_u′, m_r′ the same once attacked.

Source: METRICS.md §12.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import nn

from ofmu.data.examples import Examples, Modality
from ofmu.engine.forward import Encoded
from ofmu.evaluation.metric import Halves
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records

LEAST = 0.05
"""Share of the largest value by which the models must differ for a part of that difference to mean something."""

KEPT = ("retain", "test", "holdout")
"""Sets of which nothing was forgotten: a measure named after one has no recovery."""


class Teach(Protocol):
    """Fine-tunes a model and stops at the steps asked for; the weights come back when the iterator is done or closed.

    Evaluation measures and never trains: whoever runs an attack hands this in.
    """

    def __call__(
        self,
        model: nn.Module,
        data: Encoded,
        *,
        steps: Sequence[int],
        learning_rate: float,
        batch_size: int,
        seed: int,
    ) -> Iterator[int]:
        """Yield each of the steps when the model stands there, 0 before the first."""
        ...


@dataclass(frozen=True)
class Target:
    """One model under attack, with all that an attack may use.

    Args:
        role: ``unlearned``, ``original``, ``retrained`` (``retrained-2`` …) or ``base``.
        model: on its device, without adapter, in evaluation mode; must be left as it was found.
        modality: ``"text"`` or ``"image"``.
        examples: set → examples as read: forget, retain, and holdout, test where given.
        sets: set → the same, encoded.
        steer: set → positions of the steering half, which attacks may be tuned on.
        report: set → positions of the half that is reported. Both are all examples where a set cannot be halved.
        encode: makes batches of further examples.
        score: what the model does on examples.
        teach: see :class:`Teach`.
        learning_rate: share r of the model's scale → step size η of AdamW, the same for every model.
        seeds: of what is drawn, one repetition each.
        removed: classes of images that were to be forgotten as a whole.
        device: where the model is.
        batch_size: examples of one forward pass.
        tokenizer: of a language model.
        context: longest input in tokens, if the model has a limit.
        autocast: context of a forward pass.
    """

    role: str
    model: nn.Module
    modality: Modality
    examples: Mapping[str, Examples]
    sets: Mapping[str, Encoded]
    steer: Mapping[str, Sequence[int]]
    report: Mapping[str, Sequence[int]]
    encode: Callable[[Examples], Encoded]
    score: Callable[[Encoded], Record]
    teach: Teach
    learning_rate: Callable[[float], float]
    seeds: tuple[int, ...] = (0,)
    removed: tuple[int, ...] = ()
    device: torch.device | str = "cpu"
    batch_size: int = 16
    tokenizer: Any = None
    context: int | None = None
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    @property
    def reported(self) -> dict[str, Encoded]:
        """Set → what is reported, as before the attack: all that was to be forgotten, else the reporting half."""
        return {n: e if n == "forget" else e.take(list(self.report[n])) for n, e in self.sets.items()}


@dataclass(frozen=True)
class Attacked:
    """What one attacked model did.

    Args:
        facts: whatever the attack wants to know again when models are compared; as JSON can hold it.
        records: variant → set → record of the attacked model.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, Record]] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """One measure before and after an attack, on every model.

    Args:
        variant: what was done, e.g. ``"int4"``.
        measure: e.g. ``"forget_probability"``.
        before: role → value without the attack; empty where there is no such thing.
        after: role → value under attack; None where it cannot be given.
        gap: m_u′ − m_r′, the mean over the retrained models: what counts.
        gap_interval: its 95 % interval over resampled clusters.
        recovery: (m_u′ − m_u)/(m_o − m_u), of measures of the forget set and of membership.
        reason: why gap or recovery is missing.
        details: more about it.
    """

    variant: str
    measure: str
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]
    gap: float | None = None
    gap_interval: tuple[float, float] | None = None
    recovery: float | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """An attack on all models.

    Args:
        figures: measures before and after.
        curves: for attacks that take steps: one for each model, seed and setting.
        headline: name, value in [0, 1], interval and parts, for the attack that has one.
        notes: what a reader must know, a line each.
    """

    figures: tuple[Figure, ...] = ()
    curves: tuple[Mapping[str, Any], ...] = ()
    headline: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compared:
    """What is compared with: every model without an attack.

    Args:
        plain: records of all models on the sets that are reported, without an attack.
        halves: set → id → half, for measures on records.
    """

    plain: Records
    halves: Halves = field(default_factory=dict)


class ModelAttack(ABC):
    """Something done to a model after unlearning; a frozen dataclass of its options.

    Class attributes:
        modality: of the models that it can be done to.
        roles: models that it is done to; ``retrained`` stands for all of them.
        default: whether it is among those made when none is named.
    """

    modality: ClassVar[Literal["text", "image", "any"]] = "any"
    roles: ClassVar[tuple[str, ...]] = ("unlearned", "original", "retrained")
    default: ClassVar[bool] = True

    def impossible(self, examples: Mapping[str, Examples]) -> str | None:
        """Why these examples do not allow the attack; None if they do."""
        return None

    @abstractmethod
    def run(self, target: Target) -> Attacked:
        """Attack one model, and leave it as it was.

        Raises:
            InputError: the model is of a kind that cannot be attacked so.
        """

    @abstractmethod
    def compare(self, attacked: Mapping[str, Attacked], compared: Compared) -> Findings:
        """Set the attacked models beside each other.

        Args:
            attacked: role → what it did; ``unlearned`` is always there.
            compared: the models without the attack.
        """


def recovery(
    after: float | None, unlearned: float | None, original: float | None, retrained: float | None = None
) -> float | None:
    """(m_u′ − m_u)/(m_o − m_u): 0 nothing came back, 1 all did.

    None where there was too little to recover: m_o differs from m_u, or from m_r where that is known, by less than 5 %
    of the largest of them, so that the share would be one of noise.

    >>> recovery(0.5, 0.25, 0.75)
    0.5
    >>> recovery(0.5, 0.25, 0.75, retrained=0.74) is None
    True
    """
    if after is None or unlearned is None or original is None:
        return None
    others = [unlearned] if retrained is None else [unlearned, retrained]
    least = LEAST * max(abs(value) for value in (original, *others))
    if any(abs(original - value) <= least for value in others):
        return None
    return (after - unlearned) / (original - unlearned)


def mean_retrained(values: Mapping[str, float | None]) -> float | None:
    """The mean over the retrained models; None if there is none, or one has no value."""
    found = [value for role, value in values.items() if role.startswith("retrained")]
    if not found or any(value is None for value in found):
        return None
    return math.fsum(value for value in found if value is not None) / len(found)


def figure(
    variant: str,
    measure: str,
    before: Mapping[str, float | None],
    after: Mapping[str, float | None],
    *,
    gap_interval: tuple[float, float] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Figure:
    """A figure with its gap and recovery, or the reason for none.

    Args:
        variant: what was done.
        measure: what was measured.
        before: role → value without the attack.
        after: role → value under attack.
        gap_interval: 95 % interval of the gap.
        details: more about it.
    """
    ours, retrained = after.get("unlearned"), mean_retrained(after)
    gap = None if ours is None or retrained is None else ours - retrained
    kept = measure.partition("_")[0] in KEPT
    known = ours, before.get("unlearned"), before.get("original"), mean_retrained(before)
    back = None if kept else recovery(*known)
    return Figure(
        variant=variant,
        measure=measure,
        before=dict(before),
        after=dict(after),
        gap=gap,
        gap_interval=gap_interval if gap is not None else None,
        recovery=back,
        reason=_why_missing(gap, back, {} if kept else before, after),
        details=dict(details or {}),
    )


def _why_missing(
    gap: float | None, back: float | None, before: Mapping[str, float | None], after: Mapping[str, float | None]
) -> str | None:
    """The reason why gap or recovery cannot be given."""
    if after.get("unlearned") is None:
        return "not measured on the unlearned model"
    reasons = []
    if gap is None:
        reasons.append("no retrained model: nothing can be compared with retraining")
    if back is None and before:
        known = before.get("original") is not None
        little = "no recovery: the original model differs by less than 5 % from the unlearned or the retrained one here"
        reasons.append(little if known else "no original model")
    return "; ".join(reasons) or None
