"""What the measured quantities are called in front of a reader who is no specialist."""

from __future__ import annotations

ROLES = {
    "original": "before",
    "unlearned": "unlearned",
    "retrained": "retrained without the data",
    "base": "never-seen base model",
}
SETS = {"forget": "forget set", "retain": "retain set", "holdout": "holdout", "test": "test set"}

_TITLES = {
    "forget_loss": ("Loss on the forget set", "nats; high = no longer expected by the model"),
    "retain_loss": ("Loss on the retain set", "nats; low = still known"),
    "holdout_loss": ("Loss on the holdout", "nats; examples that no model was trained on"),
    "test_loss": ("Loss on the test set", "nats"),
    "forget_probability": ("Probability of the forgotten answers", "mean per-token probability, 0 … 1"),
    "retain_probability": ("Probability of the retained answers", "mean per-token probability, 0 … 1"),
    "holdout_probability": ("Probability of the holdout's answers", "mean per-token probability, 0 … 1"),
    "forget_exact_memorization": ("Forgotten tokens recalled exactly", "share of tokens, 0 … 1"),
    "retain_exact_memorization": ("Retained tokens recalled exactly", "share of tokens, 0 … 1"),
    "holdout_exact_memorization": ("Holdout tokens guessed exactly", "share of tokens, 0 … 1"),
    "forget_accuracy": ("Accuracy on the forget set", "share of images given their label"),
    "retain_accuracy": ("Accuracy on the retain set", "share of images given their label"),
    "test_accuracy": ("Accuracy on the test set", "share of unseen images given their label"),
    "test_accuracy_forgotten_class": ("Accuracy on the removed classes", "unseen images of these classes"),
    "mia_loss": ("Loss attack", "AUC: 1 = forget set still looks trained on"),
    "mia_confidence": ("Confidence attack", "AUC: 1 = forget set still looks trained on"),
    "mia_correctness": ("Correctness attack", "AUC: 1 = forget set still looks trained on"),
    "mia_entropy": ("Entropy attack", "AUC: 1 = forget set still looks trained on"),
    "mia_modified_entropy": ("Modified-entropy attack", "AUC: 1 = forget set still looks trained on"),
    "forgetting_gap": ("Forgetting gap", "0 = as retrained, 1 = nothing forgotten"),
    "retention_gap": ("Retention gap", "0 = as retrained, 1 = all ability lost"),
    "forget_margin": ("Margin on the forget set", "logit of the label against the rest"),
    "forget_entropy": ("Entropy on the forget set", "nats; high = unsure"),
    "privacy_gap": ("Privacy gap", "0 = as retrained; the worst attack counts"),
    "model_utility": ("Model utility", "harmonic mean of nine parts, 0 … 1"),
}
HEADLINES = frozenset({"forgetting_gap", "retention_gap", "privacy_gap"})
_BETTER = {"up": "higher is better", "down": "lower is better", "as_retrained": "best: as retrained"}


def title(metric: str) -> str:
    """The metric's name in plain words; an unknown name with spaces for underscores.

    >>> title("mia_min_k")
    'mia min k'
    """
    return _TITLES.get(metric, (metric.replace("_", " "), ""))[0]


def explanation(metric: str) -> str:
    """Unit or range of a metric in a few words; empty for a metric this page does not know."""
    return _TITLES.get(metric, ("", ""))[1]


def better(direction: object) -> str:
    """Which way is better, in words.

    >>> better("as_retrained")
    'best: as retrained'
    """
    return _BETTER.get(str(direction), "direction not stated")


def group(metric: str) -> str:
    """The part of the headline table that a metric belongs to."""
    if metric in HEADLINES:
        return "Headlines against the retrained model"
    if metric.startswith("forget_"):
        return "What should be gone"
    if metric.startswith(("mia_", "privleak", "lira", "klom")):
        return "Can an attacker tell that the forget set was trained on?"
    if metric.startswith("holdout_"):
        return "Examples that no model was trained on"
    return "What should stay"


GROUPS = (
    "Headlines against the retrained model",
    "What should be gone",
    "Can an attacker tell that the forget set was trained on?",
    "What should stay",
    "Examples that no model was trained on",
)


def role(name: str) -> str:
    """A role in words: ``retrained-2`` is another seed of the retrained model.

    >>> role("retrained-2")
    'retrained without the data (2)'
    """
    head, _, seed = name.partition("-")
    return ROLES.get(head, head) + (f" ({seed})" if seed else "")
