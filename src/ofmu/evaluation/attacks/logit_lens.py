"""What the model would say if its last blocks were left out: knowledge that is hidden, not gone, shows between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ofmu.data.examples import TextExamples
from ofmu.data.tokens import TextBatch, TokenSet
from ofmu.data.views import views
from ofmu.engine.forward import rows
from ofmu.errors import InputError
from ofmu.evaluation.attack import Attacked, Compared, Figure, Findings, ModelAttack, Target, figure
from ofmu.evaluation.attacked import mean_gap_interval
from ofmu.evaluation.residual_stream import Decoder, decoder, watched
from ofmu.evaluation.statistics import Floats

OTHERS = 3
"""Wrong answers beside the true one."""

CHUNK = 256
"""Scored tokens that go through the head together."""


@dataclass(frozen=True)
class LogitLens(ModelAttack):
    """Read the answer's probability after every block: hidden state → final norm → output head.

    For each block l the mean over forget examples of P_l = exp(−λ_l), λ_l the mean of −log p over the scored tokens.
    The figure is at the block where the unlearned model's is largest, for every model. Where examples have three wrong
    answers or more, also the four-option accuracy, by the same rule: the share whose true answer has a smaller λ_l than
    each of the first three wrong ones; chance is ¼.

    Source: METRICS.md §12; nostalgebraist 2020.
    """

    modality: ClassVar = "text"

    tolerance: float = 0.05
    """Nats by which the last block's reading may differ from the model's own output; more is refused."""

    def run(self, target: Target) -> Attacked:
        """P of every forget example after every block."""
        forget = target.sets["forget"]
        if not isinstance(forget, TokenSet):
            raise InputError("the logit lens is for language models")
        with target.autocast():
            losses = layer_losses(
                target.model,
                forget,
                batch_size=target.batch_size,
                device=target.device,
                tolerance=self.tolerance,
            )
            choices = self._choices(target, forget, losses)
        return Attacked({"loss": losses.tolist(), "clusters": list(forget.clusters)} | choices)

    def compare(self, attacked: Mapping[str, Attacked], compared: Compared) -> Findings:
        """At the block where the unlearned model knows most."""
        p = {role: np.exp(-np.array(each.facts["loss"], dtype=np.float64)) for role, each in attacked.items()}
        means = {role: each.mean(axis=1) for role, each in p.items()}
        layer = int(means["unlearned"].argmax())
        plain = {role: np.exp(-record.means("nll")) for role, record in compared.plain.of_set("forget").items()}
        own = {role: {"layer": int(each.argmax()) + 1, "value": float(each.max())} for role, each in means.items()}
        shown = figure(
            f"block {layer + 1} of {len(means['unlearned'])}",
            "forget_probability",
            {role: float(each.mean()) for role, each in plain.items()},
            {role: float(each[layer]) for role, each in means.items()},
            gap_interval=mean_gap_interval(_at(layer, p), attacked["unlearned"].facts["clusters"], "logit_lens"),
            details={
                "layer": layer + 1,
                "largest": own,
                "by_layer": {role: each.tolist() for role, each in means.items()},
            },
        )
        return Findings((shown, *_choice_figures(attacked)))

    def _choices(self, target: Target, forget: TokenSet, losses: Floats) -> dict[str, Any]:
        """Which examples' true answer wins over three wrong ones after every block: (L, M); none without wrong ones."""
        examples = target.examples["forget"]
        wrong = views(examples).get("wrong") if isinstance(examples, TextExamples) else None
        if wrong is None:
            return {}
        encoded = target.encode(wrong)
        assert isinstance(encoded, TokenSet)
        place = {name: index for index, name in enumerate(encoded.ids)}
        options = {
            index: [place[f"{name}#{k}"] for k in range(OTHERS)]
            for index, name in enumerate(forget.ids)
            if all(f"{name}#{k}" in place for k in range(OTHERS))
        }
        if not options:
            return {}
        others = encoded.take([at for own in options.values() for at in own])
        found = layer_losses(
            target.model, others, batch_size=target.batch_size, device=target.device, tolerance=self.tolerance
        )
        chosen = right_choices(losses[:, list(options)], found.reshape(len(found), len(options), OTHERS))
        return {"right": chosen.tolist(), "asked": [forget.clusters[index] for index in options]}


def right_choices(true: Floats, wrong: Floats) -> Floats:
    """1 where the true answer is the likeliest of all, 0 elsewhere and where it is one of several: (L, M).

    Args:
        true: (L, M) λ of the true answers after each block.
        wrong: (L, M, O − 1) λ of the wrong ones.

    >>> right_choices(np.array([[1.0, 2.0]]), np.array([[[2.0, 3.0, 1.5], [2.0, 4.0, 4.0]]])).tolist()
    [[1.0, 0.0]]
    """
    return (true < wrong.min(axis=2)).astype(np.float64)


def _choice_figures(attacked: Mapping[str, Attacked]) -> list[Figure]:
    """Four-option accuracy at the block where the unlearned model's is largest; the last block is the model's own."""
    if any("right" not in each.facts for each in attacked.values()):
        return []
    right = {role: np.array(each.facts["right"], dtype=np.float64) for role, each in attacked.items()}
    means = {role: each.mean(axis=1) for role, each in right.items()}
    layer = int(means["unlearned"].argmax())
    shown = figure(
        f"block {layer + 1} of {len(means['unlearned'])}",
        "forget_choice_accuracy",
        {role: float(each[-1]) for role, each in means.items()},
        {role: float(each[layer]) for role, each in means.items()},
        gap_interval=mean_gap_interval(_at(layer, right), attacked["unlearned"].facts["asked"], "logit_lens"),
        details={
            "layer": layer + 1,
            "options": OTHERS + 1,
            "questions": right["unlearned"].shape[1],
            "by_layer": {role: each.tolist() for role, each in means.items()},
        },
    )
    return [shown]


def layer_losses(
    model: nn.Module, encoded: TokenSet, *, batch_size: int = 16, device: Any = "cpu", tolerance: float = 0.05
) -> Floats:
    """λ of each example after each block: (L, N), nats.

    Args:
        model: a causal language model.
        encoded: examples.
        batch_size: examples of one forward pass.
        device: where the model is.
        tolerance: nats; see below.

    Raises:
        InputError: the model's blocks, norm and head cannot be told, or the last block through them does not give the
            model's own output (its head does more), so that no reading would mean anything.
    """
    parts = decoder(model)
    found = np.zeros((len(parts.blocks), len(encoded)))
    order = np.argsort(-encoded.lengths, kind="stable")
    with watched(parts.blocks) as seen, torch.no_grad():
        for start in range(0, len(order), batch_size):
            chosen = [int(index) for index in order[start : start + batch_size]]
            batch = encoded.batch(chosen).to(device)
            own = _means(-rows(model, batch).log_probabilities(), batch)
            for layer, state in enumerate(seen):
                found[layer, chosen] = _means(_losses(parts, state, batch), batch)
            worst = float(np.abs(found[-1, chosen] - own).max())
            if not worst <= tolerance:
                raise InputError(
                    f"{type(model).__name__}: final norm and head on its last block give another output than the model "
                    f"({worst:.2g} nats apart); the logit lens does not fit it"
                )
    return found


def _losses(parts: Decoder, state: Tensor, batch: TextBatch) -> Tensor:
    """−log p of the scored tokens by the states before them: (R,)."""
    example, position = (batch.labels[:, 1:] >= 0).nonzero(as_tuple=True)
    labels, picked = batch.labels[example, position + 1], state[example, position]
    losses = []
    for start in range(0, len(labels), CHUNK):
        logits = parts.head(parts.norm(picked[start : start + CHUNK])).float()
        losses.append(-logits.log_softmax(dim=1).gather(1, labels[start : start + CHUNK, None])[:, 0])
    return torch.cat(losses)


def _means(losses: Tensor, batch: TextBatch) -> Floats:
    """Mean over the scored tokens of each example: (B,)."""
    example = (batch.labels[:, 1:] >= 0).nonzero(as_tuple=True)[0].cpu().numpy()
    sums = np.bincount(example, weights=losses.cpu().double().numpy(), minlength=len(batch))
    return (sums / np.bincount(example, minlength=len(batch))).astype(np.float64)


def _at(layer: int, values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Role → what was found at one block, from role → (L, N)."""
    return {role: each[layer] for role, each in values.items()}
