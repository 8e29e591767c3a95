"""The mathematics of OFMU on any torch module; needs torch alone and is usable alone."""

from ofmu.core.adaptive import Adaptive
from ofmu.core.algorithm import (
    Inner,
    Outer,
    Round,
    SolveOptions,
    inner,
    inner_gradient,
    outer,
    outer_gradient,
    solve,
)
from ofmu.core.blocks import Blocks
from ofmu.core.curvature import Secant
from ofmu.core.derivatives import Derivatives, Exact, FiniteDifference, GaussNewton
from ofmu.core.gauss_newton import Split
from ofmu.core.multipliers import Multipliers
from ofmu.core.phi import Penalty, Phi
from ofmu.core.priority import Priority
from ofmu.core.problem import Loss, Problem
from ofmu.core.schedule import Constant, Geometric, Polynomial, Schedule, Seen
from ofmu.core.similarity import Measure, Similarity
from ofmu.core.vector import Vector

__all__ = [
    "Adaptive",
    "Blocks",
    "Constant",
    "Derivatives",
    "Exact",
    "FiniteDifference",
    "GaussNewton",
    "Geometric",
    "Inner",
    "Loss",
    "Measure",
    "Multipliers",
    "Outer",
    "Penalty",
    "Phi",
    "Polynomial",
    "Priority",
    "Problem",
    "Round",
    "Schedule",
    "Secant",
    "Seen",
    "Similarity",
    "SolveOptions",
    "Split",
    "Vector",
    "inner",
    "inner_gradient",
    "outer",
    "outer_gradient",
    "solve",
]
