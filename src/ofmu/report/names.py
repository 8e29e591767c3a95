"""What the measured quantities are called in front of a reader who is no specialist."""

from __future__ import annotations

ROLES = {
    "original": "before",
    "unlearned": "unlearned",
    "retrained": "retrained without the data",
    "base": "never-seen base model",
}
SETS = {
    "forget": "forget set",
    "retain": "retain set",
    "holdout": "holdout",
    "test": "test set",
    "real_authors": "real authors",
    "world_facts": "world facts",
}

# what is measured on a set → its name, and its unit or range; the set is added to the name
_KINDS = {
    "loss": ("Loss", "nats; high = not expected by the model"),
    "probability": ("Probability of the true answers", "mean per-token probability, 0 … 1"),
    "exact_memorization": ("Tokens recalled exactly", "share of the answer's tokens, 0 … 1"),
    "extraction_strength": ("Answers completed by heart (extraction strength)", "share of the answer, 0 … 1"),
    "paraphrase_probability": ("Probability of the true answers in other words", "mean per-token, 0 … 1"),
    "wrong_probability": ("Probability of wrong answers", "mean per-token probability, 0 … 1"),
    "normalised_probability": ("True answer among wrong ones", "its share of their probability, 0 … 1"),
    "truth_ratio": ("Truth ratio", "how it tells right answers from wrong ones, 0 … 1"),
    "truth_ratio_knowledge": ("Right answer against a wrong one", "1 = knows, 0.5 = cannot tell"),
    "rouge1_recall": ("Words of the true answer that it says (ROUGE-1)", "share, 0 … 1"),
    "rougeL_recall": ("True answer in what it says (ROUGE-L)", "share of its words in their order, 0 … 1"),
    "rougeL_f1": ("What it says against the true answer (ROUGE-L F1)", "0 … 1"),
    "rougeL_recall_unicode": ("True answer in what it says, any script (ROUGE-L)", "share of its words, 0 … 1"),
    "rougeL_f1_unicode": ("What it says against the true answer, any script (ROUGE-L F1)", "0 … 1"),
    "generated_tokens": ("Length of what it says", "tokens"),
    "cut": ("Answers cut off by the length limit", "share, 0 … 1"),
    "rep4": ("Repetition in what it says", "share of four-word runs that come again, 0 … 1"),
    "ref_nll": ("What it says as the base model reads it", "loss of the answers, nats; high = gibberish"),
    "empty": ("Empty answers", "share, 0 … 1"),
    "accuracy": ("Accuracy", "share of images given their label"),
    "margin": ("Margin of the label", "logit of the label against the rest"),
    "entropy": ("Uncertainty (entropy)", "nats; high = unsure"),
    "choice_accuracy": ("Right choices", "share of the questions, 0 … 1"),
    "permutation_accuracy": ("Right choices wherever the right option stands", "share of the orders, 0 … 1"),
    "perplexity": ("Perplexity", "tokens as likely as the right one; low = expected"),
    "perplexity_doc": ("Perplexity, mean of the documents' own", "tokens as likely as the right one; low = expected"),
    "bits_per_byte": ("Bits for a byte of text", "low = expected by the model"),
    **{
        f"letter_balance_{letter}": (f"Letter {letter} chosen", "share of the questions, 0 … 1")
        for letter in "ABCDEFGH"
    },
    "probe_accuracy": ("Right choices that a probe of the inner states reads", "share of the questions, 0 … 1"),
    "leak": ("Answers drawn that give it away", "share of the questions, 0 … 1"),
    "accuracy_of_refit_head": ("Accuracy once the last layer is fitted again", "share of images given their label"),
}

_AUC = "AUC: 1 = forget set still looks trained on, 0.5 = guessing"
_ATTACKS = {  # attack → its name, and how it is called on a chart
    "mia_loss": ("Loss attack", "loss"),
    "mia_zlib": ("Loss against compressed size (zlib)", "zlib"),
    "mia_zlib_total": ("Loss against compressed size, both whole (zlib)", "zlib, whole"),
    "mia_min_k": ("Least likely tokens (min-k)", "min-k"),
    "mia_min_k_plus_plus": ("Least likely tokens for their place (min-k++)", "min-k++"),
    "mia_gradnorm": ("Length of the gradient", "gradient"),
    "mia_reference": ("Loss against the base model's (reference)", "reference"),
    "mia_confidence": ("Confidence attack", "confidence"),
    "mia_correctness": ("Correctness attack", "right or wrong"),
    "mia_entropy": ("Entropy attack", "entropy"),
    "mia_modified_entropy": ("Modified-entropy attack", "modified entropy"),
    "u_lira": ("U-LiRA attack", "U-LiRA"),
    "probe_auc": ("Probe of the inner states", "probe"),
}

_TITLES = {
    "forget_probability": ("Probability of the forgotten answers", "mean per-token probability, 0 … 1"),
    "retain_probability": ("Probability of the retained answers", "mean per-token probability, 0 … 1"),
    "holdout_probability": ("Probability of the holdout's answers", "mean per-token probability, 0 … 1"),
    "forget_exact_memorization": ("Forgotten tokens recalled exactly", "share of the answer's tokens, 0 … 1"),
    "retain_exact_memorization": ("Retained tokens recalled exactly", "share of the answer's tokens, 0 … 1"),
    "holdout_exact_memorization": ("Holdout tokens guessed exactly", "share of the answer's tokens, 0 … 1"),
    "retain_loss": ("Loss on the retain set", "nats; low = still known"),
    "holdout_loss": ("Loss on the holdout", "nats; examples that no model was trained on"),
    "test_accuracy": ("Accuracy on the test set", "share of unseen images given their label"),
    "test_accuracy_forgotten_class": ("Accuracy on the removed classes", "unseen images of these classes"),
    "forgetting_gap": ("Forgetting gap", "0 = as retrained, 1 = nothing forgotten"),
    "retention_gap": ("Retention gap", "0 = as retrained, 1 = all ability lost"),
    "privacy_gap": ("Privacy gap", "0 = as retrained; the worst attack counts"),
    "relearning_gap": ("Relearning gap", "0 = as retrained, 1 = comes back as if never forgotten"),
    "model_utility": ("Model utility", "harmonic mean of nine parts, 0 … 1"),
    "mia_efficacy": ("Taken for never seen by an attack (MIA-efficacy)", "share of the forget set, 0 … 1"),
    "mia_efficacy_correctness": ("MIA-efficacy by right or wrong", "share of the forget set, 0 … 1"),
    "mia_efficacy_entropy": ("MIA-efficacy by entropy", "share of the forget set, 0 … 1"),
    "mia_efficacy_modified_entropy": ("MIA-efficacy by modified entropy", "share of the forget set, 0 … 1"),
    "mia_efficacy_salun": ("MIA-efficacy as SalUn computes it", "share of the forget set, 0 … 1"),
    "forget_quality": ("Forget quality", "p of the Kolmogorov–Smirnov test of the truth ratios"),
    "untaught_forget_loss": ("Loss on forgotten examples not taught", "nats"),
    "untaught_forget_probability": ("Probability of forgotten answers not taught", "mean per-token, 0 … 1"),
    "taught_forget_loss": ("Loss on the examples taught", "nats"),
    "taught_forget_probability": ("Probability of the answers taught", "mean per-token, 0 … 1"),
} | {name: (words, _AUC) for name, (words, _) in _ATTACKS.items()}

HEADLINES = frozenset({"forgetting_gap", "retention_gap", "privacy_gap", "relearning_gap"})
_BETTER = {"up": "higher is better", "down": "lower is better", "as_retrained": "best: as retrained"}
_BY_LENGTH = sorted(_KINDS, key=len, reverse=True)


def split(metric: str) -> tuple[str, str] | None:
    """(set, what is measured on it), None for what is no measure of one set.

    >>> split("real_authors_truth_ratio"), split("mia_loss")
    (('real_authors', 'truth_ratio'), None)
    """
    if is_attack(metric) or metric in HEADLINES:
        return None
    kind = next((kind for kind in _BY_LENGTH if metric.endswith(f"_{kind}")), None)
    return None if kind is None else (metric.removesuffix(f"_{kind}"), kind)


def title(metric: str) -> str:
    """The metric's name in plain words; an unknown name with spaces for underscores.

    >>> title("mia_min_k"), title("world_facts_rep4"), title("my_own")
    ('Least likely tokens (min-k)', 'Repetition in what it says, world facts', 'my own')
    """
    if metric in _TITLES:
        return _TITLES[metric][0]
    parts = split(metric)
    if parts is None:
        return metric.replace("_", " ")
    words = set_name(parts[0])
    return f"{_KINDS[parts[1]][0]}{' on the ' if words.split()[-1] in {'set', 'holdout'} else ', '}{words}"


def short_title(metric: str) -> str:
    """The metric's name under a heading that says the set.

    >>> short_title("retain_rep4")
    'Repetition in what it says'
    """
    parts = split(metric)
    return title(metric) if parts is None else _KINDS[parts[1]][0]


def explanation(metric: str) -> str:
    """Unit or range of a metric in a few words; empty for a metric this page does not know."""
    if metric in _TITLES:
        return _TITLES[metric][1]
    parts = split(metric)
    return "" if parts is None else _KINDS[parts[1]][1]


def attack(name: str) -> str:
    """A membership attack in a word or two, for a chart.

    >>> attack("mia_zlib"), attack("mia_of_mine")
    ('zlib', 'of mine')
    """
    return _ATTACKS[name][1] if name in _ATTACKS else name.removeprefix("mia_").replace("_", " ")


def set_name(name: str) -> str:
    """A set in words.

    >>> set_name("world_facts"), set_name("law_exams")
    ('world facts', 'law exams')
    """
    return SETS.get(name, name.replace("_", " "))


def better(direction: object) -> str:
    """Which way is better, in words.

    >>> better("as_retrained")
    'best: as retrained'
    """
    return _BETTER.get(str(direction), "direction not stated")


def is_attack(metric: str) -> bool:
    """Whether a metric says how well an attacker tells what was trained on."""
    return metric.startswith(("mia_", "privleak", "u_lira", "lira", "klom"))


def group(metric: str) -> str:
    """The part of the headline table that a metric belongs to."""
    if metric in HEADLINES:
        return "Headlines against the retrained model"
    if metric.startswith("forget_"):
        return "What should be gone"
    if is_attack(metric):
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


def shelf(metric: str) -> str:
    """The heading below which a metric stands among all others: its set.

    >>> shelf("real_authors_rep4"), shelf("mia_zlib"), shelf("model_utility")
    ('Real authors', 'Attacks', 'Others')
    """
    if is_attack(metric):
        return "Attacks"
    parts = split(metric)
    own = parts[0] if parts else next((name for name in SETS if metric.startswith(f"{name}_")), "")
    words = set_name(own)
    return words[:1].upper() + words[1:] if words else "Others"


def role(name: str) -> str:
    """A role in words: ``retrained-2`` is another seed of the retrained model.

    >>> role("retrained-2")
    'retrained without the data (2)'
    """
    head, _, seed = name.partition("-")
    return ROLES.get(head, head) + (f" ({seed})" if seed else "")
