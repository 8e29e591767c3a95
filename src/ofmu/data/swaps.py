"""Swapped answers: what a model makes of an answer it has never seen after a prompt, from the examples themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ofmu.data.examples import ImageExamples, TextExample, TextExamples
from ofmu.data.splits import Examples


def swapped(examples: Examples, others: Examples, *, seed: int) -> Examples:
    """Every example with the answer of another one.

    Texts: the completion of an example of another cluster follows the own prompt (a text without prompt: the
    second half of another text follows its own first half). Images: labels are dealt anew among the images'
    classes, never the own one if there is another. Texts of one cluster only take their
    answers from `others`; images always count the classes of `others` too.

    Args:
        examples: n examples.
        others: more of the same kind, for answers that the examples do not have among themselves.
        seed: of the exchange.

    Returns:
        n examples with the same ids.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    if isinstance(examples, ImageExamples):
        known = others.labels if isinstance(others, ImageExamples) else examples.labels
        return replace(examples, labels=_other_labels(examples.labels, known, rng))
    if len(set(examples.clusters)) < 2 and isinstance(others, TextExamples):
        pool, partners = others.examples, rng.integers(len(others), size=len(examples)).tolist()
    else:
        pool, partners = examples.examples, _partners(examples.clusters, rng)
    made = tuple(_with_answer_of(example, pool[other]) for example, other in zip(examples.examples, partners))
    return TextExamples(made, examples.source, examples.format)


def _with_answer_of(example: TextExample, other: TextExample) -> TextExample:
    if example.prompt is not None:
        return replace(example, completion=other.completion)
    own, theirs = example.completion, other.completion
    return replace(example, prompt=own[: len(own) // 2], completion=theirs[len(theirs) // 2 :])


def _partners(clusters: tuple[str, ...], rng: np.random.Generator) -> list[int]:
    """A partner of another cluster for each example; of the same one only if there is no other."""
    names = np.array(clusters)
    everyone = np.arange(len(names))
    partners = []
    for own in everyone:
        outside = everyone[names != names[own]]
        pool = outside if len(outside) else everyone[everyone != own]
        partners.append(int(rng.choice(pool)) if len(pool) else int(own))
    return partners


def _other_labels(labels: np.ndarray, known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    classes = np.union1d(labels, known)
    if len(classes) < 2:
        return labels
    shift = rng.integers(1, len(classes), size=len(labels))
    return classes[(np.searchsorted(classes, labels) + shift) % len(classes)].astype(labels.dtype)
