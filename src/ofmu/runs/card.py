"""The model card: what was done to the model, in words, without any of the data."""

from __future__ import annotations

from ofmu.runs.identity import Identity
from ofmu.runs.setup import Setup
from ofmu.version import __version__

TEMPLATE = """---
library_name: transformers
tags: [machine-unlearning, ofmu]
---

# {name}, after unlearning

Made by ofmu {version} with the method `{method}` ({paper}). {count} examples were to be forgotten.

- model before: `{model}` (sha256 of the weights)
- forget set: `{forget}` (sha256)
- retain set: `{retain}` (sha256)

What was forgotten, what it cost and what was not shown stands in the report of the run that this folder belongs to
(`report.html`, figures in `metrics.json`). Loss-based measures cannot show that knowledge is gone for good: a model
may be taught it again more quickly than one that never knew it.
"""


def model_card(setup: Setup, identity: Identity) -> str:
    """The card's text.

    Args:
        setup: the run.
        identity: hashes of model and data.
    """
    return TEMPLATE.format(
        name=setup.loaded.name.rstrip("/").split("/")[-1],
        version=__version__,
        method=type(setup.method).name,
        paper=type(setup.method).paper,
        count=len(setup.task.data["forget"].ids),
        model=identity.hashes["model"],
        forget=identity.hashes["forget"],
        retain=identity.hashes["retain"],
    )


TRAINED = """---
library_name: transformers
tags: [ofmu]
---

# {name}, fine-tuned

Trained by ofmu {version}: {steps} steps of {batch} examples.

- model before: `{model}` (sha256 of the weights)
- data: `{data}` (sha256)
"""


def training_card(name: str, hashes: dict[str, str], steps: int, batch: int) -> str:
    """The card's text of a fine-tuned model.

    Args:
        name: of the model before.
        hashes: of model and data.
        steps: taken.
        batch: examples of a step.
    """
    short = name.rstrip("/").split("/")[-1]
    return TRAINED.format(name=short, version=__version__, steps=steps, batch=batch, **hashes)
