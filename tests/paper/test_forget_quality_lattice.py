"""T20: with 40 questions a Kolmogorov–Smirnov p-value takes few values; which ones, by counting paths exactly."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from ofmu.evaluation.kolmogorov_smirnov import kolmogorov_smirnov


def p_by_counting(n: int, k: int) -> Fraction:
    """P(D ≥ k/n) of two samples of n: the share of lattice paths that get k away from the diagonal."""
    inside = {0: 1}  # difference of the two counts → number of orders that stayed within
    for _ in range(2 * n):
        moved: dict[int, int] = {}
        for difference, count in inside.items():
            for step in (1, -1):
                if abs(difference + step) < k:
                    moved[difference + step] = moved.get(difference + step, 0) + count
        inside = moved
    return 1 - Fraction(inside.get(0, 0), comb(2 * n, n))


@pytest.mark.parametrize(("k", "printed"), [(9, 0.2657), (8, 0.4046), (7, 0.5786), (6, 0.7659), (5, 0.9188)])
def test_t20_values_of_forty_questions(k: int, printed: float) -> None:
    first = np.arange(40.0)
    second = first + k - 0.5  # k of the first are below all of the second
    found = kolmogorov_smirnov(first, second)
    assert found.pvalue == pytest.approx(float(p_by_counting(40, k)), rel=1e-12)
    assert found.pvalue == pytest.approx(printed, abs=5e-5)


@pytest.mark.parametrize(("k", "printed"), [(19, 1.88e-4), (16, 3.02e-3), (17, 1.27e-3)])
def test_t20_published_values_are_on_the_lattice_and_two_are_not(k: int, printed: float) -> None:
    """The tables' .40, 1.88e-4, 3.02e-3 and 1.27e-3 are attainable; .42 is between two neighbours."""
    assert float(p_by_counting(40, k)) == pytest.approx(printed, rel=0.01)
    lattice = [float(p_by_counting(40, j)) for j in range(1, 41)]
    assert min(abs(value - 0.42) for value in lattice) > 0.01
