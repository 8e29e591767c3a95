"""OFMU: forgetting as an inner ascent, utility as an outer descent under a soft stationarity constraint."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor

from ofmu.engine.forward import Batch
from ofmu.engine.loss import Reduction, Values
from ofmu.engine.method import Method, Process
from ofmu.engine.objective import Objective, forget_objective
from ofmu.engine.rounds import effects, faults
from ofmu.engine.rounds.cost import gradients_a_round
from ofmu.engine.rounds.losses import Losses
from ofmu.engine.rounds.priority import wanted
from ofmu.engine.rounds.process import Rounds
from ofmu.engine.rounds.settings import Settings
from ofmu.engine.task import Task
from ofmu.errors import InputError
from ofmu.losses import Rows
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

    preset: Literal["default", "robust", "paper"] = "default"
    """Where options that are left out come from."""
    objective: Objective = field(default_factory=Objective)
    """The forget objective."""
    lambda_eff: Annotated[float, Range(gt=0)] | None = None
    """λ_eff = T η_in/η_out, the balance of forgetting against retention."""
    balance: Literal["adaptive", "fixed"] | None = None
    """Whether λ_eff reacts to the run or stays."""
    retain_band: Annotated[float, Range(gt=0)] | None = None
    """Rise of the retain loss that is tolerated, as a share of its distance to chance level."""
    band_opening: Annotated[float, Range(ge=1)] | None = None
    """How many times as wide the band is at the first step; it narrows in a line to the last. 1: it is constant."""
    similarity: str | None = None
    """Sim: `cosine`, `squared_cosine`, `hinge`, `squared_hinge`, `soft_hinge`, `euclid`, `angle`, `projection`,
    `projection_energy`, `retain_projection`, `inner_product`, `squared_inner_product`, or `my_module:MySimilarity`;
    `none` is β = 0 and needs one gradient less a step."""
    margin: Annotated[float, Range(ge=-1, le=1)] | None = None
    """Of the hinges: the cosine up to which gradients count as not in conflict."""
    temperature: Annotated[float, Range(gt=0)] | None = None
    """`soft_hinge`: width of its corner, in units of the cosine."""
    smoothing: Annotated[float, Range(gt=0, lt=1)] | None = None
    """`euclid`, `angle`: what keeps their slopes finite."""
    blocks: Literal["whole", "layer", "tensor"] | None = None
    """Whether the similarity is that of whole gradients, or is taken by layer or tensor."""
    block_weights: Literal["size", "sum"] | None = None
    """Whether blocks count by their size or each as one."""
    retain_direction: Literal["fresh", "last", "held"] | None = None
    """Against what conflict is looked for: the retain gradient of the step's own batch (one gradient more), or that
    of the last outer step, so that rounds without conflict need no more than two gradients; `held` takes the last
    one for the similarity term as well, as a constant."""
    beta: Annotated[float, Range(ge=0)] | None = None
    """β; relative: the similarity term's share of the forget gradient."""
    rho: Annotated[float, Range(ge=0)] | None = None
    """ρ; relative: the penalty's share of the retain gradient."""
    rho_growth: Annotated[float, Range(ge=1)] | None = None
    """γ of ρ ← γρ after each round; 1 is constant. Of `adaptive`: the factor up or down, above 1."""
    rho_schedule: Literal["constant", "geometric", "polynomial", "adaptive", "augmented_lagrangian"] | None = None
    """How ρ goes on: by γ, by a power, up and down with what a round did, or not at all while multipliers of ∇Φ = 0
    grow in its place (`augmented_lagrangian`)."""
    rho_power: Annotated[float, Range(ge=0, le=8)] | None = None
    """`polynomial`: p of ρ (1 + k)ᵖ."""
    rho_matched: bool | None = None
    """Whether step sizes fall as ρ grows; with `scale raw` only."""
    rho_max: Annotated[float, Range(ge=0)] | None = None
    """The largest ρ that growth may lead to."""
    rho_cap: bool | None = None
    """Whether ρ is held below 1/(2 η λ̂²), where the penalty is stable; with `sgd` only, whose η that is (left out, it
    is off with the others)."""
    undo_cap: bool | None = None
    """Whether ρ is held below what would undo a round's own forgetting; with `sgd` only."""
    scale: Literal["raw", "relative"] | None = None
    """What β and ρ are measured in."""
    guard: bool | None = None
    """Whether the penalty may not undo forgetting."""
    step: Literal["full", "projected"] | None = None
    """`projected`: conflict is projected out of the inner step, without curvature and penalty."""
    derivatives: Literal["exact", "finite_difference", "central", "secant", "gauss_newton"] | None = None
    """How curvature is computed: exactly, by differences of gradients (forward, central, or forward with the penalty's
    curvature from the last inner step; under `adamw` that is the curvature along the step taken, P times the moving
    mean of ∇Φ, not along ∇Φ), or without the network's own curvature (similarity term only)."""
    penalty_derivatives: Literal["same", "finite_difference", "central", "secant"] | None = None
    """How the penalty's curvature alone is computed."""
    penalty_batches: Annotated[int, Range(ge=1, le=2)] | None = None
    """2: the penalty's two factors are taken on independent batches, so that it does not also penalise noise."""
    retain_curvature: bool | None = None
    """Whether the similarity term has the retain loss's curvature; without it a product is saved."""
    refresh_every: Annotated[int, Range(ge=1)] | None = None
    """The similarity term is computed in every so many inner steps of a round, and held between."""
    curvature_share: Annotated[float, Range(gt=0, le=1)] | None = None
    """Share of each batch from which curvature is taken."""
    inner_steps: Annotated[int, Range(ge=1)] | None = None
    """T, inner steps a round."""
    outer_steps: Annotated[int, Range(ge=1)] | None = None
    """Outer steps a round; they share one step size."""
    optimiser: str | None = None
    """Of both loops: `adamw`, `sgd` (the paper), `sign`, or a class of torch.optim as torch spells it (`RMSprop`)."""
    optimiser_states: Literal["one", "two"] | None = None
    """One second moment for both loops, or one each; torch's optimisers need `two`."""
    base: Literal["sequential", "anchored", "literal"] | None = None
    """Where the outer step sets out from: where the inner steps ended; or, `anchored`, where the round began, with the
    gradients of where the inner steps ended. (`literal`, base and gradients where the round began, is refused.)"""
    sam_radius: Annotated[float, Range(ge=0, lt=1)] | None = None
    """Forgetting is asked to hold around the weights: ∇Φ is taken where a step of this length, as a share of the
    weights' own norm, would remember most (one gradient more an inner step); 0 is off."""
    sam_of: Literal["whole", "matrix"] | None = None
    """Whether that length is a share of all weights together or of each tensor."""
    adversary_steps: Annotated[int, Range(ge=0)] | None = None
    """Forgetting is asked to hold against relearning: ∇Φ is taken where earlier batches have been taught again, in
    lessons of up to this many rounds; the first round of a lesson has been taught nothing, so that 1 is refused. The
    teaching uses the gradients that are there (no further one); 0 is off."""
    adversary_rate: Annotated[float, Range(gt=0)] | None = None
    """Step size of that teaching, as a share of the run's own."""
    trust_region: Annotated[float, Range(ge=0)] | None = None
    """Longest way of a round, as a share of the weights' norm; 0 is no limit."""
    trust_of: Literal["whole", "matrix"] | None = None
    """Whether that holds for all weights together or for each tensor."""
    priority: str | float | None = None
    """Whose progress is served first, in the place of the balance: `forget` (what forgetting needs to reach its goal
    is not undone), `retain` (forgetting yields as the retain loss uses up its band), `balanced` (neither side loses,
    to first order), a number (how strongly forgetting pulls, as a multiple of retention; "from 2 to 0.5": it changes by
    the same factor in equal times, to the last step), or a target for one side:
    "forget to the holdout's level", "forget to a loss of 3", "retain loss may rise by at most 2 %" (of the loss at the
    start; or "0.1 nats"); `none` is λ_eff alone."""
    debias: Literal["moving", "halves", "off"] | None = None
    """How the recorded cosine is freed of the batches' noise: against moving means of the gradients, from the two
    halves of each batch, or not at all."""

    def resolved(self) -> OFMU:
        """The method with every option given: its own value, or the preset's."""
        settings = self.settings()
        return replace(self, **{f.name: getattr(settings, f.name) for f in fields(settings)})

    def settings(self) -> Settings:
        """What a run goes by: of every option its own value, or the preset's."""
        preset = PRESETS[self.preset]
        own = {f.name: getattr(self, f.name) for f in fields(Settings)}
        values = preset | {name: value for name, value in own.items() if value is not None}
        values["priority"] = wanted(values["priority"])
        if self.rho_cap is None:
            values["rho_cap"] = preset["rho_cap"] and values["optimiser"] == "sgd"
        values["objective"] = replace(self.objective, name=self.objective.name or preset["objective"])
        return Settings(**values)

    def gradients_a_step(self) -> float:
        """Of a round without conflict: T inner steps and the outer ones."""
        return gradients_a_round(self.settings())

    def check(self, task: Task) -> None:
        """Options that exclude each other or have no effect; a level needs unseen data, a removal whole classes."""
        options = self.settings()
        faults.check(options, task.processes.world)
        effects.check({f.name: getattr(self, f.name) for f in fields(Settings)}, PRESETS[self.preset], options)
        name = options.objective.name
        if name == "removal" and task.removed is None:
            raise InputError("objective.name removal is for whole classes, but the retain set holds some of them")
        if options.objective.needs_level and task.levels is None:
            raise InputError(f"objective.name {name}: whole classes are removed, which have no level; use removal")

    def start(self, task: Task) -> Process:
        """Begin on a task."""
        settings = self.settings()
        L_f, per = _raised(task, settings.objective, settings.penalises)
        elsewhere = None
        if settings.adversary_steps > 0:  # where it has been relearned, nothing has been forgotten too far
            elsewhere, _ = _raised(task, replace(settings.objective, sides="one"), settings.penalises)
        halves, share = settings.debias == "halves", settings.curvature_share
        losses = Losses(task, L_f, per, halves=halves, curvature_share=share, elsewhere=elsewhere)
        return Rounds(losses, settings)


def _raised(task: Task, objective: Objective, penalised: bool) -> tuple[Values, Reduction]:
    """The paper's L_f is raised; an objective, as every loss of this package, is lowered."""
    lowered, per = forget_objective(task, objective, penalised=penalised)

    def L_f(rows: Rows, batch: Batch) -> Tensor:
        return -lowered(rows, batch)

    return L_f, per


NEUTRAL: dict[str, Any] = {f.name: f.default for f in fields(Settings) if f.default is not MISSING}
"""What presets leave out."""

DEFAULT: dict[str, Any] = NEUTRAL | {
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
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": DEFAULT,
    "robust": DEFAULT | {"adversary_steps": 16, "retain_band": 0.006, "band_opening": 6.0},
    "paper": NEUTRAL
    | {
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
