"""The relearning adversary: a point nearby where what was forgotten has been taught again, for ∇Φ to be taken there.

Of the problem

    max over θ of  min over δ of  L_f(θ + δ),    δ at most m − 1 relearning steps long,                        (59)

the inner minimum is what a relearning attack does. Both sides need ∇L_f at the same point, so one gradient serves both:

    δ₀ = 0,    δ_{j+1} = δ_j − η_a · Adam_j(∇L_f(θ + δ_j))        relearn                                  (60)
               θ       ← θ + (λ_eff η/T) P ∇Φ(θ + δ_j)            forget, where it has been relearned

A lesson has a number of rounds drawn from 1 … m, at δ₀, δ₁, …; then the adversary drops what it has learned, one round
is taken at θ itself, and a new lesson begins at δ = 0. While it lasts, θ moves under it; the batches come from a
stream without replacement, so that ∇Φ is asked for on examples that the adversary has not been taught, as an attack is
judged on examples that it did not teach. In a lesson L_f is one-sided: descending it teaches, whatever the examples'
losses, and an example above its level at θ + δ is no reason to call it back. Between lessons, at θ, both sides count.

What is just enough at θ + δ is too much at θ. So no lesson is held, and every round is taken at θ, from a check with

    mean_i (A_i(θ) − L_i) > 0    over the watched forget examples, A_i the mean loss, L_i the level         (62)

to the next without.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch

from ofmu.core.ascent import Inner
from ofmu.core.vector import Vector
from ofmu.engine.checks import Check
from ofmu.engine.rounds.losses import Pair
from ofmu.engine.rounds.place import Place
from ofmu.engine.task import Task

BETAS = (0.9, 0.999)
"""Decay of Adam's moments, those of the attack."""

EPSILON = 1e-8


@final
class Relearned(Place):
    """θ + δ, where the last few batches have been taught again. No gradient of its own is taken.

    Three vectors of the size of the parameters are held: δ and Adam's moments.

    Args:
        task: whose parameters are moved; its seed draws the lengths of the lessons.
        steps: m ≥ 2, the rounds of the longest lesson.
        rate: η_a as a share of the run's peak step size, > 0; .4 is what the relearning attack takes at its r = .02.

    Source: min–max unlearning against relearning, Tamirisa et al. 2024 (arXiv 2408.00761); one gradient for both
    sides, Shafahi et al. 2019 (arXiv 1904.12843). **Differs**: δ is a run of Adam steps, begun anew at random, in the
    place of a ball; the outer step's retain gradient is taken at θ, that of a similarity term at θ + δ.
    """

    gradients = 0.0

    def __init__(self, task: Task, steps: int, rate: float):
        self._task, self._steps = task, steps
        self._step_size = rate * task.pace.learning_rate
        self._lesson = 0  # lessons begun
        self._age, self._length = 0, 0
        self._rests = False  # (62)
        self._delta = self._first = self._second = Vector()

    def displacement(self, pair: Pair) -> Vector | None:
        """δ as the steps so far have made it, 0 at the first step of a lesson; None between lessons."""
        if self._rests:
            return None
        if self._age == self._length:
            self._begin()
        return self._delta if self._age >= 0 else None

    def saw(self, seen: Inner) -> None:
        """Teach, in a lesson: δ ← δ − η_a · Adam(∇L_f(θ + δ)), L_f one-sided, which lowers the examples' loss."""
        if self._rests:
            return
        self._age += 1
        if self._age == 0:
            return  # seen between lessons, at θ
        with torch.no_grad():
            for name, g in seen.g_f.items():
                self._teach(name, g)

    def observe(self, check: Check) -> None:
        """Break the lesson off and rest, by (62), or go on with the next one."""
        goal = self._task.goal
        self._rests = goal is not None and goal.past(check.forget_loss)
        if self._rests:
            self._age = self._length

    def _teach(self, name: str, g: torch.Tensor) -> None:
        """One step of Adam on one tensor of δ."""
        first, second = (1 - beta**self._age for beta in BETAS)
        m, v = self._first[name], self._second[name]
        m.mul_(BETAS[0]).add_(g, alpha=1 - BETAS[0])
        v.mul_(BETAS[1]).add_(g * g, alpha=1 - BETAS[1])
        self._delta[name].sub_(m / ((v / second).sqrt_().add_(EPSILON)), alpha=self._step_size / first)

    def _begin(self) -> None:
        """Before a new lesson: δ = 0, and how long it will be; −1 is the round at θ."""
        parameters = self._task.parameters
        self._delta, self._first, self._second = (Vector.zeros_like(parameters) for _ in range(3))
        self._length = length(self._task.seed, self._lesson, self._steps)
        self._lesson += 1
        self._age = -1

    def state_dict(self) -> dict[str, Any]:
        """The lesson under way."""
        return {
            "lesson": self._lesson,
            "age": self._age,
            "length": self._length,
            "rests": self._rests,
            "delta": dict(self._delta),
            "first": dict(self._first),
            "second": dict(self._second),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a lesson."""
        self._lesson, self._age, self._length = state["lesson"], state["age"], state["length"]
        self._rests = state["rests"]
        self._delta, self._first, self._second = (Vector(state[name]) for name in ("delta", "first", "second"))


def length(seed: int, lesson: int, most: int) -> int:
    """How many rounds a lesson has, 1 … most: a pure function, the same on every rank and after a resume.

    >>> [length(0, lesson, 4) for lesson in range(8)]
    [1, 4, 3, 1, 4, 2, 3, 4]
    """
    return int(np.random.Generator(np.random.Philox(key=[seed, lesson])).integers(1, most, endpoint=True))
