"""Evaluation written the plain way: the yardstick of `ofmu bench evaluation`, and the reference of its tests.

Each metric goes over its own examples; each text is tokenised whenever it is needed; batches are padded as items come;
all logits of a batch become float32 at once; generation goes through the file in order. It shares no code with
``ofmu.evaluation`` but the ROUGE of two texts. It is part of the package, and not of the tests, because the command has
to run where nothing but the package is installed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ofmu.evaluation.rouge import rouge

Row = Mapping[str, Any]
Values = dict[str, NDArray[np.float64]]
Pair = tuple[str, str]
"""Question and answer."""


@dataclass(frozen=True, eq=False)
class Plain:
    """A model that is evaluated the plain way.

    Args:
        model: a causal language model.
        tokenizer: its own; its chat template writes the prompts, or ``Question: … Answer:`` without one.
        batch_size: examples at a time.
    """

    model: nn.Module
    tokenizer: Any
    batch_size: int

    def text(self, question: str, answer: str | None) -> str:
        """Prompt, and prompt with answer."""
        if self.tokenizer.chat_template:
            turns = [{"role": "user", "content": question}]
            if answer is None:
                return self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            turns.append({"role": "assistant", "content": answer})
            return self.tokenizer.apply_chat_template(turns, tokenize=False)
        prompt = f"Question: {question}\nAnswer:"
        return prompt if answer is None else f"{prompt} {answer}{self.tokenizer.eos_token}"

    def ids(self, text: str) -> list[int]:
        """Tokens of a text; a chat template has written the special ones."""
        return self.tokenizer(text, add_special_tokens=not self.tokenizer.chat_template)["input_ids"]

    def batches(self, pairs: Sequence[Pair]) -> Iterator[tuple[Tensor, Tensor]]:
        """All logits (B, T−1, V) in float32 and the next tokens (B, T−1), −100 where nothing is scored."""
        for start in range(0, len(pairs), self.batch_size):
            rows, first = [], []
            for question, answer in pairs[start : start + self.batch_size]:
                rows.append(self.ids(self.text(question, answer)))
                begin = len(self.ids(self.text(question, None)))
                while self.tokenizer.decode(rows[-1][begin : begin + 1]) == " ":  # a space is no part of the answer
                    begin += 1
                first.append(begin)
            width = max(map(len, rows))
            ids = torch.zeros(len(rows), width, dtype=torch.long)
            mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
            for row, (tokens, begin) in enumerate(zip(rows, first)):
                ids[row, : len(tokens)] = labels[row, : len(tokens)] = torch.tensor(tokens)
                mask[row, : len(tokens)] = 1
                labels[row, :begin] = -100
            device = next(self.model.parameters()).device
            with torch.no_grad():
                logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
            yield logits[:, :-1].float(), labels[:, 1:].to(device)

    def each(self, pairs: Sequence[Pair], measure: Callable[[Tensor, Tensor], Tensor]) -> NDArray[np.float64]:
        """A number for each pair from its scored tokens: (logits (T, V), labels (T,)) → scalar."""
        values = []
        for logits, labels in self.batches(pairs):
            for row, targets in zip(logits, labels):
                scored = targets >= 0
                values.append(float(measure(row[scored], targets[scored])))
        return np.array(values)

    def losses(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """λ of each pair, with the whole batch's log-softmax."""
        values = []
        for logits, labels in self.batches(pairs):
            log_p = logits.log_softmax(dim=-1)
            own = log_p.gather(2, labels.clamp_min(0)[:, :, None])[:, :, 0].double()
            scored = labels >= 0
            values.extend((-(own * scored).sum(dim=1) / scored.sum(dim=1)).tolist())
        return np.array(values)

    def answers(self, questions: Sequence[str], max_new_tokens: int) -> list[str]:
        """Greedy answers, batches in the order of the file."""
        said = []
        device = next(self.model.parameters()).device
        model: Any = self.model
        for start in range(0, len(questions), self.batch_size):
            rows = [self.ids(self.text(question, None)) for question in questions[start : start + self.batch_size]]
            width = max(map(len, rows))
            ids = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
            out = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, use_cache=True
            )
            said.extend(self.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True))
        return said


def scores(plain: Plain, reference: Plain, sets: Mapping[str, Sequence[Row]]) -> Values:
    """All TOFU scores but ROUGE, each in its own pass: ``set/metric`` → (N,).

    Args:
        plain: the model that is measured.
        reference: of the reference attack.
        sets: forget, retain, real_authors, world_facts, holdout → rows of TOFU's columns.
    """
    found: Values = {}
    for name, rows in sets.items():
        if name in ("forget", "retain"):
            found[f"{name}/loss"] = plain.losses(_pairs(rows))
        if name != "holdout":
            found[f"{name}/log_truth_ratio"] = _truth_ratio(plain, rows)
        if name in ("real_authors", "world_facts"):
            found[f"{name}/normalised_probability"] = _normalised(plain, rows)
        if name == "forget":
            found["forget/paraphrase_loss"] = plain.losses(_paraphrased(rows))
            found["forget/wrong_loss"] = plain.losses(_wrong(rows))
            found["forget/exact_memorization"] = plain.each(_pairs(rows), exact)
            found["forget/extraction_strength"] = plain.each(_pairs(rows), extraction)
        if name in ("forget", "holdout"):
            pairs = _pairs(rows)
            found[f"{name}/mia_loss"] = plain.losses(pairs)
            sizes = np.array([len(zlib.compress(answer.encode())) for _, answer in pairs])
            found[f"{name}/mia_zlib"] = plain.losses(pairs) / sizes
            found[f"{name}/mia_min_k"] = plain.each(pairs, min_k)
            found[f"{name}/mia_min_k_plus_plus"] = plain.each(pairs, min_k_plus_plus)
            found[f"{name}/mia_reference"] = plain.losses(pairs) - reference.losses(pairs)
    return found


def rouge_recalls(plain: Plain, sets: Mapping[str, Sequence[Row]], max_new_tokens: int) -> Values:
    """ROUGE-L recall of greedy answers: set → (N,)."""
    found = {}
    for name, rows in sets.items():
        said = plain.answers([row["question"] for row in rows], max_new_tokens)
        found[name] = np.array([rouge(row["answer"], text).rougeL_recall for row, text in zip(rows, said)])
    return found


def exact(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of right predictions, the end token left out."""
    return (logits.argmax(-1) == labels)[:-1].float().mean()


def extraction(logits: Tensor, labels: Tensor) -> Tensor:
    """Longest right suffix over the length, the end token left out."""
    right = (logits.argmax(-1) == labels)[:-1].flip(0).long()
    return right.cumprod(0).sum() / len(right)


def min_k(logits: Tensor, labels: Tensor, k: float = 0.4) -> Tensor:
    """−mean of the lowest log p, the end token left out."""
    log_p = logits.log_softmax(-1).gather(1, labels[:, None])[:-1, 0]
    return -log_p.sort().values[: max(1, int(k * len(log_p)))].double().mean()


def min_k_plus_plus(logits: Tensor, labels: Tensor, k: float = 0.4) -> Tensor:
    """The same of log p standardised over the vocabulary."""
    log_p = logits.log_softmax(-1)
    p = log_p.exp()
    mean = (p * log_p).sum(-1)
    variance = (p * log_p.square()).sum(-1) - mean.square()
    z = (log_p.gather(1, labels[:, None])[:, 0] - mean) / variance.clamp_min(1e-6).sqrt()
    return -z[:-1].sort().values[: max(1, int(k * (len(z) - 1)))].double().mean()


def _truth_ratio(plain: Plain, rows: Sequence[Row]) -> NDArray[np.float64]:
    wrong = plain.losses(_wrong(rows)).reshape(len(rows), -1)
    return plain.losses(_paraphrased(rows)) - wrong.mean(axis=1)


def _normalised(plain: Plain, rows: Sequence[Row]) -> NDArray[np.float64]:
    own = np.exp(-plain.losses(_pairs(rows)))
    wrong = np.exp(-plain.losses(_wrong(rows))).reshape(len(rows), -1)
    return own / (own + wrong.sum(axis=1))


def _pairs(rows: Sequence[Row]) -> list[Pair]:
    return [(row["question"], row["answer"]) for row in rows]


def _paraphrased(rows: Sequence[Row]) -> list[Pair]:
    return [(row["question"], row.get("paraphrased_answer", row["answer"])) for row in rows]


def _wrong(rows: Sequence[Row]) -> list[Pair]:
    return [(row["question"], answer) for row in rows for answer in row["perturbed_answer"]]
