"""What this does not show: the part of the report that a careful reader looks for first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ofmu.report.words import finite

_NOT_TRIED = {  # attack → what is not known without it
    "relearning": (
        "Whether the knowledge can be brought back: suppressed is not removed. Teaching the model a few of "
        "the forgotten examples may bring the others back; no relearning attack was run here."
    ),
    "quantisation": "Whether rounding the weights (quantisation) brings it back: not tried here.",
    "prompts": "Whether the data come out when asked in other words, with a beginning of the answer: not tried here.",
    "sampling": "Whether the data come out if many answers are drawn: not tried here.",
    "logit_lens": "Whether the inner layers still hold what the answer no longer says (logit lens): not looked at.",
    "probe": "Whether a small classifier on the inner states still tells the forget set: not tried here.",
}
_TEXT_ONLY = {"prompts", "sampling", "logit_lens"}


def limits(
    metrics: Mapping[str, Any],
    distributions: Mapping[str, Mapping[str, Sequence[float]]],
    attacks: Collection[str] = (),
) -> list[str]:
    """Sentences about what the evidence on this page leaves open, those of this very run first.

    Args:
        metrics: metrics.json.
        distributions: role → set → losses.
        attacks: names of the attacks after unlearning that the page shows.
    """
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
    said += _of_attacks(attacks, images=any(name.endswith("_accuracy") for name in measured))
    if sum(str(score.get("name")).startswith("mia_") for score in scores) and "u_lira" not in measured:
        said.append(
            "Attackers who train models of their own on similar data (U-LiRA): the attacks above go by one number "
            "of one model and are weaker."
        )
    retrained = {str(score.get("role")) for score in scores if str(score.get("role")).startswith("retrained")}
    if len(retrained) == 1:
        said.append("How far two retrained models differ: there is a single one to compare with.")
    seeds = [score.get("seeds") for score in scores if score.get("role") == "unlearned"]
    if not any(isinstance(n, int) and n > 1 for n in seeds):
        said.append(
            "How much the outcome depends on chance: this is a single run with a single seed. Intervals "
            "are over the examples, not over repeated runs."
        )
    return [*said, *_ALWAYS]


def attack_limits(attacks: Collection[str], *, roles: Collection[str], images: bool) -> list[str]:
    """The same for a page that shows attacks alone.

    Args:
        attacks: names of the attacks that were made.
        roles: of the models that were attacked.
        images: whether these are image classifiers.
    """
    said = _of_attacks(attacks, images=images)
    if not any(role.startswith("retrained") for role in roles):
        said.insert(0, "Whether the data come back faster than they are learnt anew: there was no retrained model.")
    return [*said, *_ALWAYS]


def _of_attacks(attacks: Collection[str], *, images: bool) -> list[str]:
    said = [words for name, words in _NOT_TRIED.items() if name not in attacks and not (images and name in _TEXT_ONLY)]
    if "relearning" in attacks:
        said.append(
            "What more or other teaching would bring back: relearning was tried with the few settings above, and "
            "a stronger attacker chooses others."
        )
    if attacks and not images:
        said.append("Whether another language, a dialogue or an optimised prompt brings it back: not tried here.")
    return said


_ALWAYS = (
    "Stronger attacks may tell more than those that were made.",
    "Knowledge that follows from what was kept, or that none of these examples asks for.",
    "Copies of the data elsewhere: in other models, checkpoints, backups, logs or the original data store.",
    "That a law is satisfied: this page is evidence for a person who decides, not a certificate.",
)
