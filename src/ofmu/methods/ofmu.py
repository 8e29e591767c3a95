"""OFMU: forgetting as an inner ascent, utility as an outer descent under a soft stationarity constraint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal

from ofmu.core.algorithm import Inner, Outer, inner, outer
from ofmu.core.derivatives import Derivatives
from ofmu.core.problem import Problem
from ofmu.core.schedule import Constant, Geometric, Schedule
from ofmu.core.similarity import Cosine, Similarity, SquaredHinge
from ofmu.core.similarity import make as make_similarity
from ofmu.core.vector import Vector
from ofmu.engine.balance import Balance
from ofmu.engine.checks import Check
from ofmu.engine.loss import BatchLoss
from ofmu.engine.method import Method, Process, StepRecord
from ofmu.engine.objective import Objective, forget_objective
from ofmu.engine.optimiser import TwoSided
from ofmu.engine.task import Task
from ofmu.engine.weighted_sum import TINY
from ofmu.errors import InputError
from ofmu.losses import nll
from ofmu.ranges import Range


@dataclass(frozen=True, kw_only=True)
class OFMU(Method):
    """Bi-level unlearning: min over θ of L_r subject, softly, to ∇Φ = 0, with Φ = L_f − β·Sim(∇L_f, ∇L_r).

    inner, t = 1 … T:  θ ← θ + (λ_eff η/T) P ∇Φ(θ)          forget and decorrelate
    outer:             θ ← θ − η P (∇L_r + 2ρ ∇²Φ ∇Φ)(θ)    restore, and stay where forgetting is stationary

    P is the identity (`sgd`) or one preconditioner for both loops (`adamw`). An option left out has the value of the
    preset.

    Source: Asif, Mohammadi Amiri, "OFMU" (arXiv 2509.22483).
    **Differs** (preset `default`): L_f is the distance to the level of unseen data instead of the likelihood, so
    that forgetting has an end; β and ρ are relative; what the penalty would undo is guarded. `paper` is faithful.
    """

    name: ClassVar[str] = "ofmu"
    paper: ClassVar[str] = "arXiv 2509.22483"
    cost: ClassVar[str] = (
        "default: 2 gradients a round, more while gradients conflict; paper: 6 an inner step, 18 an outer one"
    )
    wants_goal: ClassVar[bool] = True

    preset: Literal["default", "paper"] = "default"
    """Where options that are left out come from."""
    objective: Objective = field(default_factory=Objective)
    """The forget objective."""
    lambda_eff: Annotated[float, Range(gt=0)] | None = None
    """λ_eff = T η_in/η_out, the balance of forgetting against retention."""
    balance: Literal["adaptive", "fixed"] | None = None
    """Whether λ_eff reacts to the run or stays."""
    retain_band: Annotated[float, Range(gt=0)] | None = None
    """Rise of the retain loss that is tolerated, as a share of its distance to chance level."""
    similarity: Literal["none", "cosine", "squared_cosine", "squared_hinge"] | None = None
    """Sim; `none` is β = 0 and needs one gradient less a step."""
    margin: Annotated[float, Range(ge=-1, le=1)] | None = None
    """`squared_hinge`: the cosine up to which gradients count as not in conflict."""
    retain_direction: Literal["fresh", "last"] | None = None
    """Against what conflict is looked for: the retain gradient of the step's own batch (one gradient more), or that
    of the last outer step, so that rounds without conflict need no more than two gradients."""
    beta: Annotated[float, Range(ge=0)] | None = None
    """β; relative: the similarity term's share of the forget gradient."""
    rho: Annotated[float, Range(ge=0)] | None = None
    """ρ; relative: the penalty's share of the retain gradient."""
    rho_growth: Annotated[float, Range(ge=1)] | None = None
    """γ of ρ ← γρ after each round; 1 is constant."""
    rho_max: Annotated[float, Range(ge=0)] | None = None
    """The largest ρ that growth may lead to."""
    rho_cap: bool | None = None
    """Whether ρ is held below 1/(2 η λ̂²), where the penalty is stable; with `sgd` only, whose η that is."""
    scale: Literal["raw", "relative"] | None = None
    """What β and ρ are measured in."""
    guard: bool | None = None
    """Whether the penalty may not undo forgetting."""
    step: Literal["full", "projected"] | None = None
    """`projected`: conflict is projected out of the inner step, without curvature and penalty."""
    derivatives: Literal["exact", "finite_difference"] | None = None
    """How curvature is computed."""
    inner_steps: Annotated[int, Range(ge=1)] | None = None
    """T, inner steps a round."""
    outer_steps: Annotated[int, Range(ge=1)] | None = None
    """Outer steps a round; they share one step size."""
    optimiser: Literal["adamw", "sgd"] | None = None
    """The preconditioner of both loops."""
    optimiser_states: Literal["one", "two"] | None = None
    """One second moment for both loops, or one each."""

    def resolved(self) -> OFMU:
        """The method with every option given: its own value, or the preset's."""
        settings = self.settings()
        return replace(self, **{f.name: getattr(settings, f.name) for f in fields(settings)})

    def settings(self) -> Settings:
        """What a run goes by: of every option its own value, or the preset's."""
        preset = PRESETS[self.preset]
        own = {f.name: getattr(self, f.name) for f in fields(Settings)}
        values = preset | {name: value for name, value in own.items() if value is not None}
        values["objective"] = replace(self.objective, name=self.objective.name or preset["objective"])
        return Settings(**values)

    def gradients_a_step(self) -> float:
        """Of a round without conflict: T inner steps and the outer ones."""
        o = self.settings()
        penalty = o.rho > 0 and o.step == "full"
        if o.derivatives == "exact":
            ascent, descent = 6.0, 18.0 if penalty else 1.0
        else:
            ascent, descent = 4.0, 8.0 if penalty else 1.0
        if o.step == "projected" or o.similarity in ("squared_hinge", "none"):
            ascent, descent = 2.0, 3.0 if penalty else 1.0
        if o.step == "full" and (o.similarity == "none" or o.looks_before):
            ascent = 1.0
        return o.inner_steps * ascent + o.outer_steps * descent

    def check(self, task: Task) -> None:
        """Exact derivatives see one process only; a level needs unseen data, a removal whole classes."""
        options = self.settings()
        if options.derivatives == "exact" and task.processes.world > 1:
            raise InputError("derivatives exact works in one process only; use finite_difference for several")
        name = options.objective.name
        if name == "removal" and task.removed is None:
            raise InputError("objective.name removal is for whole classes, but the retain set holds some of them")
        if name == "level" and task.levels is None:
            raise InputError("objective.name level: whole classes are removed, which have no level; use removal")

    def start(self, task: Task) -> Process:
        """Begin on a task."""
        return Rounds(task, self.settings())


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of :class:`OFMU`, and what they mean, with none left out."""

    objective: Objective
    lambda_eff: float
    balance: Literal["adaptive", "fixed"]
    retain_band: float
    similarity: Literal["none", "cosine", "squared_cosine", "squared_hinge"]
    margin: float
    retain_direction: Literal["fresh", "last"]
    beta: float
    rho: float
    rho_growth: float
    rho_max: float
    rho_cap: bool
    scale: Literal["raw", "relative"]
    guard: bool
    step: Literal["full", "projected"]
    derivatives: Literal["exact", "finite_difference"]
    inner_steps: int
    outer_steps: int
    optimiser: Literal["adamw", "sgd"]
    optimiser_states: Literal["one", "two"]

    @property
    def looks_before(self) -> bool:
        """Whether a look at the last retain gradient may spare the similarity term: others are always active."""
        return self.retain_direction == "last" and self.similarity == "squared_hinge"


PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "objective": "auto",
        "lambda_eff": 0.2,
        "balance": "adaptive",
        "retain_band": 0.02,
        "similarity": "squared_hinge",
        "margin": 0.3,
        "retain_direction": "last",
        "beta": 0.1,
        "rho": 0.0,
        "rho_growth": 1.0,
        "rho_max": 1.0,
        "rho_cap": True,
        "scale": "relative",
        "guard": True,
        "step": "full",
        "derivatives": "finite_difference",
        "inner_steps": 1,
        "outer_steps": 1,
        "optimiser": "adamw",
        "optimiser_states": "one",
    },
    "paper": {
        "objective": "nll",
        "lambda_eff": 0.2,
        "balance": "fixed",
        "retain_band": 0.03,
        "similarity": "cosine",
        "margin": 0.0,
        "retain_direction": "fresh",
        "beta": 0.1,
        "rho": 0.01,
        "rho_growth": 1.05,
        "rho_max": 1e6,
        "rho_cap": False,
        "scale": "raw",
        "guard": False,
        "step": "full",
        "derivatives": "exact",
        "inner_steps": 5,
        "outer_steps": 1,
        "optimiser": "sgd",
        "optimiser_states": "one",
    },
}
"""Values of options left out; starting points of this package, the paper prints none."""


@dataclass(frozen=True)
class _Phi:
    """Φ of one round, as :func:`inner` and :func:`outer` take it."""

    similarity: Similarity
    beta: float
    derivatives: Derivatives
    scale: Literal["raw", "relative"]
    reference_scale: float | None
    trust: float | None


class Rounds(Process):
    """Algorithm 1 under way; one step is one round of T inner steps and the outer steps."""

    def __init__(self, task: Task, options: Settings):
        self._task, self._options = task, options
        self._derivatives = task.derivatives(options.derivatives)
        self._objective = forget_objective(task, options.objective)
        self._optimiser = TwoSided(task.parameters, kind=options.optimiser, states=options.optimiser_states)
        self._balance = Balance(options.lambda_eff, options.retain_band)
        self._schedule: Schedule = (
            Constant(options.rho)
            if options.rho_growth == 1
            else Geometric(options.rho, options.rho_growth, options.rho_max)
        )
        self._similarity = _similarity(options)
        self._scale = 0.0  # the largest ‖∇L_f‖ of the run so far, for the ε of (9)
        self._last_retain: Vector | None = None

    def step(self) -> StepRecord:
        """One round; the last inner step and the first outer one share their batches."""
        lr, options = self._task.pace.now(), self._options
        phi = self._phi()
        draws, seen = None, None
        for _ in range(options.inner_steps):
            draws = self._losses()
            seen = self._ascent_gradient(*draws, phi)
            if seen.active and options.step == "full":
                phi = replace(phi, beta=seen.beta, scale="raw")  # (50): held from here to the end of the round
            self._task.before_edit()
            self._optimiser.ascend(seen.gradient, lr, self._balance.weight, 1 / options.inner_steps)
        assert draws is not None
        assert seen is not None
        descent = None
        for number in range(options.outer_steps):
            descent = self._descent_gradient(*(draws if number == 0 else self._losses()), phi, lr)
            self._task.before_edit()
            self._optimiser.descend(descent.gradient, lr / options.outer_steps)
        assert descent is not None
        return self._record(*draws, seen, descent)

    def _losses(self) -> tuple[BatchLoss, BatchLoss]:
        task = self._task
        forget, per = self._objective
        return (
            task.loss(lambda rows, batch: -forget(rows, batch), task.draw("forget"), per),  # L_f = −F
            task.loss(lambda rows, _: nll(rows), task.draw("retain"), "tokens"),
        )

    def _problem(self, forget: BatchLoss, retain: BatchLoss) -> Problem:
        return Problem(self._task.parameters, forget, retain, dict(self._task.model.named_buffers()))

    def _ascent_gradient(self, forget: BatchLoss, retain: BatchLoss, phi: _Phi) -> Inner:
        """∇Φ of one pair of batches; the retain gradient is computed only where it can have a say."""
        options = self._options
        if options.step == "full":
            if self._similarity is None:
                return self._plain(self._derivatives.gradient(forget), Vector())
            if options.looks_before and self._last_retain is not None:
                g_f = self._derivatives.gradient(forget)
                if not self._similarity.slope(g_f, self._last_retain).active:
                    return self._plain(g_f, self._last_retain)
        with self._counting_products(2.0):
            seen = inner(self._problem(forget, retain), **vars(phi), step=options.step)
        self._scale = max(self._scale, seen.a)
        return seen

    def _plain(self, g_f: Vector, g_r: Vector) -> Inner:
        """∇Φ = g_f: no similarity term, or one that is inactive."""
        a = g_f.norm().item()
        self._scale = max(self._scale, a)
        b = g_r.norm().item() if g_r else 0.0
        c = g_f.dot(g_r).item() / (a * b) if a * b > TINY else 0.0
        return Inner(g_f, g_f, g_r, a, b, c, 0.0, 0.0, False)

    def _descent_gradient(self, forget: BatchLoss, retain: BatchLoss, phi: _Phi, lr: float) -> Outer:
        options = self._options
        rho = self._schedule.rho(self._task.pace.step)
        with self._counting_products(8.0 if rho > 0 else 0.0):
            found = outer(
                self._problem(forget, retain),
                **vars(phi),
                step=options.step,
                rho=rho,
                rho_scale=options.scale,
                guard=options.guard,
                outer_lr=lr if options.rho_cap and options.optimiser == "sgd" else None,
            )
        if options.retain_direction == "last":
            self._last_retain = found.gradient if found.inner is None else found.inner.g_r
        return found

    @contextmanager
    def _counting_products(self, factor: float) -> Iterator[None]:
        """Exact products cost what no closure sees: `factor` times the gradients inside (6 and 18 in all)."""
        meter = self._task.meter
        before = meter.gradient_examples
        yield
        if self._options.derivatives == "exact" and self._similarity is not None and self._options.step == "full":
            meter.extra_gradients += factor * (meter.gradient_examples - before) / meter.batch_size

    def _phi(self) -> _Phi:
        """Φ as a round begins."""
        options = self._options
        relative = options.scale == "relative"
        return _Phi(
            similarity=self._similarity or Cosine(),
            beta=options.beta if self._similarity is not None else 0.0,
            derivatives=self._derivatives,
            scale=options.scale,
            reference_scale=self._scale if relative and self._scale > 0 else None,
            trust=1.0 if relative else None,
        )

    def observe(self, check: Check) -> None:
        """Let the balance react."""
        pace = self._task.pace
        if self._options.balance == "adaptive" and not pace.reached:
            self._balance.observe(check, pace.step / pace.steps)

    def _record(self, forget: BatchLoss, retain: BatchLoss, seen: Inner, descent: Outer) -> StepRecord:
        g_r = seen.g_r or descent.gradient  # without similarity term: the outer step's, one inner step later
        b = g_r.norm().item()
        cosine = seen.g_f.dot(g_r).item() / (seen.a * b) if seen.a * b > TINY else None
        return StepRecord(
            forget_loss=forget.nll,
            retain_loss=retain.nll,
            similarity=cosine,
            norm_forget=seen.a,
            norm_retain=b,
            more={
                "forget_objective": -forget.value,
                "norm_phi": seen.gradient.norm().item(),
                "similarity_share": seen.curvature,
                "beta": seen.beta,
                "rho": descent.rho,
                "kappa": descent.kappa,
                "guarded": descent.guarded,
                "lambda_eff": self._balance.weight,
            },
        )

    def state_dict(self) -> dict[str, Any]:
        """Moments, balance, remembered step lengths and norms."""
        return {
            "optimiser": self._optimiser.state_dict(),
            "balance": self._balance.state_dict(),
            "derivatives": self._derivatives.state_dict(),
            "scale": self._scale,
            "last_retain": None if self._last_retain is None else dict(self._last_retain),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._balance.load_state_dict(state["balance"])
        self._derivatives.load_state_dict(state["derivatives"])
        self._scale = state["scale"]
        last = state["last_retain"]
        self._last_retain = None if last is None else Vector(last)


def _similarity(options: Settings) -> Similarity | None:
    if options.similarity == "none" or options.beta == 0:
        return None
    if options.similarity == "squared_hinge":
        return SquaredHinge(options.margin)
    return make_similarity(options.similarity)
