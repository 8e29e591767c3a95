"""Every membership attack on the unlearned model as a curve, and the retrained model under the one that tells most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ofmu.report import axes, names
from ofmu.report.beside import place_labels
from ofmu.report.figure import Figure
from ofmu.report.frame import WIDTH, Frame, path
from ofmu.report.membership import Attack, loss_attack
from ofmu.report.svg import drawing, titled
from ofmu.report.thinning import thin_path
from ofmu.report.words import brief, listed

Attackers = Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]
"""Attack → role → (scores of the forget set, scores of examples that no model was trained on); low = trained on."""

_TONES = ("m1", "m2", "m3", "m4", "m5", "m6")
_MOST = 8
_HEADING = "How much does each attack tell, beside the retrained model?"


@dataclass(frozen=True)
class _Curve:
    name: str
    label: str
    attack: Attack
    tone: str
    thin: bool = True
    dashed: bool = False


def every_attack(found: Attackers) -> Figure | None:
    """The ROC of all attacks on the unlearned model; None where there are fewer than two attacks.

    The strongest, by its distance from the retrained model (from guessing without one), is drawn thick, with the
    retrained model under the same attack as the curve to reach.
    """
    rates = {
        name: made
        for name, roles in found.items()
        if "unlearned" in roles and (made := loss_attack(*roles["unlearned"])) is not None
    }
    if len(rates) < 2:
        return None
    targets = {
        name: made
        for name in rates
        if "retrained" in found[name] and (made := loss_attack(*found[name]["retrained"])) is not None
    }
    distance = {name: _distance(made, targets.get(name)) for name, made in rates.items()}
    order = sorted(rates, key=lambda name: -distance[name])[:_MOST]
    strongest = order[0]
    label = f"{names.attack(strongest)} {rates[strongest].area:.2f}"
    curves = [_Curve(strongest, label, rates[strongest], "unlearned", thin=False)]
    if strongest in targets:
        label = f"{names.attack(strongest)}, retrained {targets[strongest].area:.2f}"
        curves.append(_Curve(strongest, label, targets[strongest], "retrained", thin=False, dashed=True))
    curves += [
        _Curve(name, f"{names.attack(name)} {rates[name].area:.2f}", rates[name], _TONES[i % len(_TONES)])
        for i, name in enumerate(order[1:])
    ]
    return Figure(_HEADING, _drawn(curves), _words(strongest, curves, bool(targets)))


def _distance(made: Attack, target: Attack | None) -> float:
    """As the privacy gap weighs it: |A_u − A_r| / max(A_r, 1 − A_r)."""
    if target is None:
        return abs(made.area - 0.5)
    return abs(made.area - target.area) / max(target.area, 1 - target.area)


def _words(strongest: str, curves: Sequence[_Curve], compared: bool) -> str:
    title = names.title(strongest)
    words = f"Areas below the curves of the unlearned model; 0.5 (dotted) is guessing. Thick: {title}, "
    if not compared:
        return words + "the farthest from guessing. Without a retrained model there is no curve to reach."
    others = [f"{each.label.rpartition(' ')[0]}" for each in curves[2:]]
    words += "the attack by which it is farthest from the retrained model (dashed, the curve to reach)."
    return words + (f" Thin: {listed(others)}." if others else "")


def _drawn(curves: Sequence[_Curve]) -> Markup:
    unit = axes.Axis(0, 1, False, tuple((t / 4, f"{t / 4:g}") for t in range(5)))
    x_label, y_label = "false alarms: share of never-seen examples accused", "hits: share of the forget set found"
    frame = Frame(unit, unit, x_label=x_label, y_label=y_label, height=270)
    ends = {"x1": frame.left, "x2": frame.right, "y1": frame.bottom, "y2": frame.top, "class_": "target"}
    frame.add(titled("line", "guessing", **ends))
    placed = []
    for curve in reversed(curves):  # the strongest on top
        points = list(zip(curve.attack.false_positive, curve.attack.true_positive, strict=True))
        on_paper = [(frame.across(x), frame.down(y)) for x, y in thin_path(points, 400 // len(curves))]
        frame.add(path(on_paper, curve.tone, dashed=curve.dashed, thin=curve.thin, title=curve.label))
        placed.append((curve.label, curve.tone, on_paper))
    frame.add(*place_labels(frame, placed[::-1]))
    said = "; ".join(f"{curve.label}" for curve in curves)
    return drawing(WIDTH, frame.height, brief(f"{_HEADING} {said}", 600), frame.parts)
