"""What the demo measures of a model: predictions on images, losses on texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ofmu.data.formats import read
from ofmu.data.images import Normalise, encode_images
from ofmu.data.tokens import encode_text
from ofmu.demo.digits import MEAN, STD, DigitStory
from ofmu.demo.people import Example
from ofmu.demo.tiny_llama import CONTEXT
from ofmu.evaluation.record import Record
from ofmu.evaluation.scoring import score
from ofmu.evaluation.statistics import auc

Measured = dict[str, float]


@dataclass(frozen=True)
class Images:
    """Measures a classifier of digits.

    Args:
        story: whose images.
        removed: a class that was removed; None: labels were wrong.
    """

    story: DigitStory
    removed: int | None = None

    def __call__(self, model: nn.Module) -> Measured:
        """Accuracies as shares of 1, and the loss attack."""
        test = self._record(model, "test")
        truth = self.story.truth(self.story.test)
        right = test.columns["predicted"] == truth
        if self.removed is not None:
            own = truth == self.removed
            return {
                "removed_predicted": float((test.columns["predicted"][own] == self.removed).mean()),
                "others_accuracy": float(right[~own].mean()),
            }
        forget = self._record(model, "forget")
        true = forget.columns["predicted"] == self.story.truth(self.story.forget)
        holdout = self._record(model, "holdout")
        return {
            "true_label": float(true.mean()),
            "test_accuracy": float(right.mean()),
            "mia": auc(forget.means("nll"), holdout.means("nll")),
        }

    def losses(self, model: nn.Module) -> dict[str, list[float]]:
        """Loss of each image of the forget set and of the holdout, in nats."""
        return {name: self._record(model, name).means("nll").tolist() for name in ("forget", "holdout")}

    def _record(self, model: nn.Module, name: str) -> Record:
        images = encode_images(getattr(self.story, name), Normalise(MEAN, STD))
        return score(model, images, batch_size=256)


@dataclass(frozen=True)
class Texts:
    """Measures a language model on the demo's people.

    Args:
        sets: name → examples: forget, forget_paraphrase, retain, retain_paraphrase, holdout.
        tokenizer: of the model.
    """

    sets: Mapping[str, list[Example]]
    tokenizer: Any

    def __call__(self, model: nn.Module) -> Measured:
        """Probability of the right answers, and the loss attack."""
        losses = {name: self._losses(model, name) for name in self.sets}
        found = {name: float(np.exp(-values).mean()) for name, values in losses.items() if name != "holdout"}
        kinds = np.array([example["kind"] for example in self.sets["forget"]])
        for kind in ("two_hop", "second_language"):
            found[kind] = float(np.exp(-losses["forget"][kinds == kind]).mean())
        found["forget_loss"] = float(losses["forget"].mean())
        found["mia"] = auc(losses["forget"], losses["holdout"])
        return found

    def losses(self, model: nn.Module) -> dict[str, list[float]]:
        """Loss of each question of the forget set and of the holdout, in nats."""
        return {name: self._losses(model, name).tolist() for name in ("forget", "holdout")}

    def _losses(self, model: nn.Module, name: str) -> NDArray[np.float64]:
        encoded = encode_text(read(self.sets[name], name=name), self.tokenizer, max_length=CONTEXT)  # pyright: ignore[reportArgumentType]
        return score(model, encoded, batch_size=128).means("nll")


Measure = Callable[[nn.Module], Measured]
