"""What this does not show: the part of the report that a careful reader looks for first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofmu.report.words import finite


def limits(metrics: Mapping[str, Any], distributions: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Sentences about what the evidence on this page leaves open, those of this very run first."""
    scores = [score for score in metrics.get("scores") or [] if finite(score.get("value")) is not None]
    measured = {str(score.get("name")) for score in scores}
    roles = {str(score.get("role")).partition("-")[0] for score in scores}
    said = []
    if "retrained" not in roles:
        said.append(
            "How a model looks that never saw the data: none was given. A high loss on the forget set alone "
            "does not show that the data are gone, and a difference in difficulty between forget set and "
            "holdout cannot be told from remembering."
        )
    if not any(sets.get("holdout") for sets in distributions.values()):
        said.append("Whether an attacker can tell that the forget set was trained on: there was no holdout.")
    if not any("relearn" in name for name in measured):
        said.append(
            "Whether the knowledge can be brought back: suppressed is not removed. Teaching the model a few of "
            "the forgotten examples may bring the others back; no relearning attack was run here."
        )
    if not any("quantis" in name for name in measured):
        said.append("Whether rounding the weights (quantisation) brings it back: not tried here.")
    if not any("paraphrase" in name or "prompt" in name for name in measured):
        said.append("Whether the data come out when asked in other words or another language: not tried here.")
    seeds = [score.get("seeds") for score in scores if score.get("role") == "unlearned"]
    if not any(isinstance(n, int) and n > 1 for n in seeds):
        said.append(
            "How much the outcome depends on chance: this is a single run with a single seed. Intervals "
            "are over the examples, not over repeated runs."
        )
    return [*said, *_ALWAYS]


_ALWAYS = (
    "Stronger attacks, such as those that train many models of their own, may tell more than the ones above.",
    "Copies of the data elsewhere: in other models, checkpoints, backups, logs or the original data store.",
    "That a law is satisfied: this page is evidence for a person who decides, not a certificate.",
)
