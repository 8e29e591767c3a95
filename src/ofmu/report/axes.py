"""Scales and tick marks of the charts, linear and logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """A scale from ``low`` to ``high`` with labelled ticks, all inside that range."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Where a value lies on the axis: 0 at ``low``, 1 at ``high``; the outside is put at the end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def at(self, share: float) -> float:
        """The value at a share of the axis, the inverse of :meth:`share`."""
        if self.log:
            return self.low * (self.high / self.low) ** share
        return self.low + share * (self.high - self.low)


def wants_log(values: Sequence[float], ratio: float = 30) -> bool:
    """Whether a logarithmic scale shows these values better: all positive and far apart (``ratio``)."""
    return len(values) > 0 and min(values) > 0 and max(values) / min(values) > ratio


def linear(low: float, high: float, *, most: int = 6) -> Axis:
    """A linear axis that covers low … high and ends on ticks: steps of 1, 2, 2.5 or 5 times a power of ten.

    Args:
        low: smallest value to show.
        high: largest value to show, ≥ low.
        most: largest number of ticks.

    >>> [label for _, label in linear(0.06, 0.93).ticks]
    ['0', '0.2', '0.4', '0.6', '0.8', '1']
    """
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-300):  # a flat curve still needs a range around it
        margin = abs(high) / 10 or 0.5
        low, high = low - margin, high + margin
    step, first, last = next(fitting for fitting in _fitting(low, high) if fitting[2] - fitting[1] < most)
    values = [index * step for index in range(first, last + 1)]
    return Axis(values[0], values[-1], False, tuple((value, _label(value, step)) for value in values))


def _fitting(low: float, high: float) -> Iterator[tuple[float, int, int]]:
    power = 10.0 ** math.floor(math.log10(high - low) - 1)
    while True:
        for unit in (1, 2, 2.5, 5):
            step = power * unit
            yield step, math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        power *= 10


def _label(value: float, step: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or step < 1e-4:
        exponent = math.floor(math.log10(abs(value)) + 1e-9)
        digits = min(12, max(3, exponent - math.floor(math.log10(step) + 1e-9) + 2))  # the step's own, and 2.5 has two
        return f"{value / 10.0**exponent:.{digits}g}×10" + str(exponent).translate(_SUPERSCRIPT)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:,.{decimals + 1}f}"  # one more digit for steps of 2.5; superfluous zeros go
    return text.rstrip("0").rstrip(".")


def logarithmic(low: float, high: float, *, most: int = 6) -> Axis:
    """A logarithmic axis that covers low … high (both > 0) and ends on 1, 2 or 5 times a power of ten.

    >>> [label for _, label in logarithmic(0.03, 7).ticks]
    ['0.1', '1', '10']
    """
    every = [10.0**power * unit for power in range(-320, 308) for unit in (1, 2, 5) if 10.0**power > 0]
    inside = [value for value in every if low / 1.0000001 <= value <= high * 1.0000001]
    below = max((value for value in every if value <= low * 1.0000001), default=low)
    above = min((value for value in every if value >= high / 1.0000001), default=high)
    if below == above:
        below, above = below / 2, above * 2
    inside = [value for value in every if below <= value <= above]
    decades = [value for value in inside if _is_decade(value)]
    shown = inside if len(inside) <= most else decades
    stride = math.ceil(len(shown) / most) or 1
    if len(shown) < 2:
        shown, stride = [below, above], 1
    plain = all(1e-3 <= value <= 1e5 for value in shown)
    return Axis(below, above, True, tuple((value, _power(value, plain)) for value in shown[::stride]))


def _is_decade(value: float) -> bool:
    exponent = math.log10(value)
    return abs(exponent - round(exponent)) < 1e-6


def _power(value: float, plain: bool) -> str:
    if plain or value in {1.0, 10.0}:
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    exponent = math.floor(math.log10(value) + 1e-9)
    unit = round(value / 10.0**exponent)
    return ("" if unit == 1 else f"{unit}×") + "10" + str(exponent).translate(_SUPERSCRIPT)


def fit(values: Sequence[float], *, log: bool | None = None, most: int = 6) -> Axis:
    """The axis for these finite values: logarithmic where asked or (``log=None``) where it shows more."""
    if len(values) == 0:
        return linear(0, 1, most=most)
    if log if log is not None else wants_log(values):
        return logarithmic(min(values), max(values), most=most)
    return linear(min(values), max(values), most=most)
