"""The contract of a method: options that start a process, and a process that takes steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ofmu.engine.checks import Check

if TYPE_CHECKING:
    from ofmu.engine.task import Task


@dataclass(frozen=True)
class StepRecord:
    """What one step saw; a line of the history.

    Args:
        forget_loss: the forget examples' mean token loss on the step's batch, in nats; where `displacement` is given,
            that at the displaced weights and not at the model's own.
        retain_loss: the same on the retain batch; None where the method uses none.
        similarity: cosine of the gradients of the loss to be raised and the loss to be lowered; > 0 is conflict.
        norm_forget: a = ‖∇L_f‖.
        norm_retain: b = ‖∇L_r‖.
        more: what else the method knows (`norm_phi`, `kappa`, `rho`, `beta`, `lambda_eff` …).
    """

    forget_loss: float | None
    retain_loss: float | None
    similarity: float | None
    norm_forget: float | None
    norm_retain: float | None
    more: dict[str, float | bool | None]


class Process(ABC):
    """An unlearning under way; all its state can be saved and restored."""

    @abstractmethod
    def step(self) -> StepRecord:
        """Take one step: draw batches, change the parameters."""

    def observe(self, check: Check) -> None:  # noqa: B027 (most methods do not react)
        """Take note of a check."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that a step changes, apart from parameters, streams, pace and meter."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""


class Method(ABC):
    """An algorithm and its options: a frozen dataclass whose file name is its name everywhere."""

    name: ClassVar[str]
    paper: ClassVar[str]
    cost: ClassVar[str]
    wants_goal: ClassVar[bool] = False
    """Whether the method stops by itself when the forget examples have reached their level."""

    def needs_reference_model(self) -> bool:
        """Whether whole distributions of the model before unlearning are needed on every batch."""
        return False

    def retains(self) -> bool:
        """Whether retain examples are trained on."""
        return True

    def resolved(self) -> Method:
        """The method with every option filled in."""
        return self

    def gradients_a_step(self) -> float:
        """Gradients that a step usually takes, for planning; the meter counts what it really takes."""
        return 2.0

    def check(self, task: Task) -> None:  # noqa: B027 (most methods take any task)
        """Make sure, before anything is written, that this method can do the task.

        Raises:
            InputError: it cannot.
        """

    @abstractmethod
    def start(self, task: Task) -> Process:
        """Begin; nothing of the task has been drawn yet."""
