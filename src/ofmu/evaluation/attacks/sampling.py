"""Ask often enough: what the likeliest answer hides, one of many drawn answers may give away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ofmu.data.examples import Examples, TextExamples
from ofmu.data.prompts import encode_prompts, prompt_room
from ofmu.errors import InputError
from ofmu.evaluation import statistics
from ofmu.evaluation.attack import Attacked, Compared, Figure, Findings, ModelAttack, Target, figure
from ofmu.evaluation.generation import Generations, Sampling, generate
from ofmu.evaluation.leak import SUCCESS_RECALL, leak_at_k, leak_upper_bound, leaks
from ofmu.evaluation.rouge import rouge


@dataclass(frozen=True)
class DrawnAnswers(ModelAttack):
    """Draw several answers to each forgotten question (temperature 1, top-p 1, seeded): leak@k.

    A sample leaks if its ROUGE-L recall against the true answer is at least .5. With c of n samples leaking,
    leak@k = 1 − C(n−c, k)/C(n, k), the mean over questions, for every power of two k ≤ n/2. Beside it the greedy
    answer (as *before*), and an exact upper bound of the rate at k = 1. Not done unless asked for: it takes long.

    Source: METRICS.md §2.7 and §12.
    """

    modality: ClassVar = "text"
    default: ClassVar = False

    samples: int = 8
    """n: answers drawn for each question."""
    questions: int = 100
    """Questions at most, drawn among the reporting clusters of the forget set."""
    max_new_tokens: int = 64
    """Longest answer in tokens; where the context is too short for it, as many as fit."""

    def __post_init__(self) -> None:
        if self.samples < 2 or self.questions < 1 or self.max_new_tokens < 1:
            raise InputError("sampling: samples must be >= 2, questions and max_new_tokens >= 1")

    def impossible(self, examples: Mapping[str, Examples]) -> str | None:
        """There must be a prompt."""
        forget = examples["forget"]
        if isinstance(forget, TextExamples) and any(example.prompt is not None for example in forget.examples):
            return None
        return "these are texts without a prompt"

    def run(self, target: Target) -> Attacked:
        """Greedy and drawn answers, judged."""
        asked = self._asked(target)
        room = prompt_room(target.context, self.max_new_tokens)
        prompts = encode_prompts(asked, target.tokenizer, max_length=room)
        more = {"max_new_tokens": self.max_new_tokens, "batch_size": target.batch_size, "device": target.device}
        with target.autocast():
            greedy = generate(target.model, prompts, **more)
            drawn = generate(target.model, prompts, sample=Sampling(target.seeds[0], n=self.samples), **more)
        answers = {example.id: example.completion for example in asked.examples}
        return Attacked(
            {
                "greedy": leaks(_recalls(greedy, answers, target)).tolist(),
                "successes": leaks(_recalls(drawn, answers, target)).tolist(),
                "clusters": list(drawn.clusters),
                "broken": int(drawn.broken.sum()),
            }
        )

    def compare(self, attacked: Mapping[str, Attacked], compared: Compared) -> Findings:
        """leak@k for every k."""
        counts = {role: np.array(each.facts["successes"], dtype=np.float64) for role, each in attacked.items()}
        greedy: dict[str, float | None] = {role: float(np.mean(e.facts["greedy"])) for role, e in attacked.items()}
        powers = [2**k for k in range(self.samples.bit_length()) if 2 * 2**k <= self.samples]
        clusters = attacked["unlearned"].facts["clusters"]
        figures = [self._figure(k, counts, greedy, clusters) for k in powers]
        broken = {role: each.facts["broken"] for role, each in attacked.items() if each.facts["broken"]}
        notes = tuple(f"sampling: {count} answers of the {role} model are not finite" for role, count in broken.items())
        return Findings(tuple(figures), notes=notes)

    def _figure(
        self, k: int, counts: Mapping[str, np.ndarray], greedy: Mapping[str, float | None], clusters: list[str]
    ) -> Figure:
        values = {role: leak_at_k(each, self.samples, k) for role, each in counts.items()}
        retrained = [each for role, each in values.items() if role.startswith("retrained")]
        numbers, bounds = statistics.number_clusters(clusters), None
        if retrained and numbers.max() + 1 >= statistics.MIN_CLUSTERS:
            difference = (values["unlearned"] - np.mean(retrained, axis=0))[None].astype(np.float64)
            rng = statistics.generator(f"leak@{k}", *clusters)
            bounds = statistics.interval(statistics.bootstrap_means(difference, numbers, rng)[0])
        after: dict[str, float | None] = {role: float(each.mean()) for role, each in values.items()}
        details = {"samples": self.samples, "questions": len(clusters), "judge": f"rougeL_recall >= {SUCCESS_RECALL}"}
        if k == 1:
            bound = {role: leak_upper_bound(each.sum(), self.samples * len(each)) for role, each in counts.items()}
            details["upper_bound"] = {role: float(each) for role, each in bound.items()}
        return figure(f"leak@{k}", "forget_leak", greedy, after, gap_interval=bounds, details=details)

    def _asked(self, target: Target) -> TextExamples:
        forget, encoded = target.examples["forget"], target.sets["forget"]
        assert isinstance(forget, TextExamples)
        known = {encoded.ids[i] for i in target.report["forget"]}
        at = [i for i, e in enumerate(forget.examples) if e.id in known and e.prompt is not None]
        order = statistics.generator("sampling", str(target.seeds[0])).permutation(len(at))
        return forget.take([at[i] for i in sorted(order[: self.questions].tolist())])


def _recalls(found: Generations, answers: Mapping[str, str], target: Target) -> np.ndarray:
    """ROUGE-L recall of each answer: (N, n)."""
    texts = found.texts(target.tokenizer)
    return np.array([[rouge(answers[name], text).rougeL_recall for text in row] for name, row in zip(found.ids, texts)])
