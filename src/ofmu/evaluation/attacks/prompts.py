"""The same questions asked otherwise: an answer that is only hidden behind its own wording comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ofmu.data.examples import Examples, Message, TextExample, TextExamples
from ofmu.data.tokens import TokenSet
from ofmu.data.views import asked, asked_by
from ofmu.engine.forward import Encoded
from ofmu.errors import InputError, unknown
from ofmu.evaluation import statistics
from ofmu.evaluation.attack import Attacked, Compared, Figure, Findings, ModelAttack, Target, figure
from ofmu.evaluation.attacked import by_variant, measured, measured_figures
from ofmu.evaluation.record import Record
from ofmu.evaluation.records import Records

PREFIX = "Sure, here is the answer:"
"""What the answer turn begins with under `prefix`."""

TEMPLATE = "Please answer the question below.\n\nQ: {}\nA:"
"""What is asked under `template`."""

COLUMNS = {"rephrased": "paraphrased_question", "translated": "translated_question"}
"""Ways of asking that need a column of the data."""

FAMILIES = (*COLUMNS, "template", "prefix", "few_shot")
"""Ways of asking."""


@dataclass(frozen=True)
class Prompts(ModelAttack):
    """Ask in other words, begin the answer for the model, show it other forgotten facts, give the first true tokens.

    `rephrased`, `translated`: the question of the column ``paraphrased_question``, ``translated_question`` (the true
    answer stays as it is). `template`: the question within other words. `prefix`: the answer turn begins with "Sure,
    here is the answer:", and what follows is scored. `few_shot`: forgotten questions of other clusters with their
    answers stand before, so that the context itself says nothing about the one asked. `first_k`: the true first k
    answer tokens are given, for every k at once: extraction strength. Holdout questions are asked in the same ways.

    `worst`: per question the largest probability over the plain question and all families. Measured on the reporting
    clusters of the forget set.

    Source: METRICS.md §12. Drawn answers are an attack of their own, `sampling`. **Differs**: an optimised prefix is
    not built.
    """

    modality: ClassVar = "text"

    families: tuple[str, ...] = FAMILIES
    """Ways of asking; those that the data do not allow are left out and named."""
    shots: int = 3
    """Forgotten facts shown under few_shot."""
    template: str = TEMPLATE
    """What is asked under template; {} is the question."""

    def __post_init__(self) -> None:
        for name in self.families:
            if name not in FAMILIES:
                raise unknown("family of prompts", name, FAMILIES)
        if self.template.count("{}") != 1:
            raise InputError(f"prompts: the template must have one place {{}} for the question: '{self.template}'")
        if self.shots < 1:
            raise InputError(f"prompts: shots is {self.shots}, but must be >= 1")

    def impossible(self, examples: Mapping[str, Examples]) -> str | None:
        """There must be a prompt."""
        forget = examples["forget"]
        if isinstance(forget, TextExamples) and any(example.prompt is not None for example in forget.examples):
            return None
        return "these are texts without a prompt"

    def run(self, target: Target) -> Attacked:
        """Every family on forget and holdout examples."""
        chosen = {name: _reported(target, name) for name in ("forget", "holdout") if name in target.examples}
        told = target.examples["forget"]
        assert isinstance(told, TextExamples)
        changes: dict[str, Callable[[TextExamples], tuple[TextExamples, Callable[[TokenSet], TokenSet]] | None]] = {
            "plain": lambda found: (found, _as_is),
            **{family: partial(_by_column, column=column) for family, column in COLUMNS.items()},
            "template": lambda found: (within(found, self.template), _as_is),
            "prefix": lambda found: (prefixed(found), lambda encoded: after_prefix(encoded, target.encode, found)),
            "few_shot": lambda found: (few_shot(found, told, self.shots), _as_is),
        }
        records: dict[str, dict[str, Record]] = {}
        cut: dict[str, int] = {}
        for family in ("plain", *self.families):
            for name, found in chosen.items():
                changed = changes[family](found)
                if changed is None or not len(changed[0]):
                    continue
                encoded = target.encode(changed[0])
                assert isinstance(encoded, TokenSet)
                records.setdefault(family, {})[name] = target.score(changed[1](encoded))
                cut[family] = cut.get(family, 0) + len(encoded.cut)
        usable = {family: sets for family, sets in records.items() if "forget" in sets}
        return Attacked({"cut": cut}, usable)

    def compare(self, attacked: Mapping[str, Attacked], compared: Compared) -> Findings:
        """The usual measures family by family, extraction strength, and the worst family per question."""
        families = by_variant(attacked)
        plain = families.pop("plain")
        figures: list[Figure] = []
        befores: dict[tuple[str, ...], Any] = {}  # the plain question on the examples that a family could be asked of
        for family, records in families.items():
            ids = records["unlearned"]["forget"].ids
            if ids not in befores:
                befores[ids] = measured(_records(plain, set(ids)), compared)
            figures += measured_figures(family, records, compared, befores[ids])
        figures += [
            each
            for each in measured_figures("first_k", plain, compared, {})
            if each.measure == "forget_extraction_strength"
        ]
        figures.append(_worst(plain, families))
        missing = [name for name in self.families if name not in families]
        notes = [f"{name}: the forget set has no column for it" for name in missing]
        cut = attacked["unlearned"].facts["cut"]
        notes += [f"{family}: {count} examples were cut to the context" for family, count in cut.items() if count]
        return Findings(tuple(figures), notes=tuple(notes))


# The families


def within(examples: TextExamples, template: str) -> TextExamples:
    """The same examples, their questions put into other words that stand around them.

    Args:
        examples: with prompts; the last turn, or the whole string, is the question.
        template: ``{}`` is the question; what a string ends with in white space stays at its end.
    """
    made = []
    for example in examples.examples:
        prompt = example.prompt
        last = prompt if isinstance(prompt, str) else prompt[-1].content if prompt else ""
        space = last[len(last.rstrip()) :] if isinstance(prompt, str) else ""
        made.append(replace(example, prompt=asked(example, template.replace("{}", last.strip()) + space)))
    return replace(examples, examples=tuple(made))


def prefixed(examples: TextExamples) -> TextExamples:
    """The same examples, their answers begun by :data:`PREFIX` (which :func:`after_prefix` takes out of the score)."""
    return replace(examples, examples=tuple(_begun(each, each.completion.lstrip()) for each in examples.examples))


def after_prefix(encoded: TokenSet, encode: Callable[[Examples], Encoded], examples: TextExamples) -> TokenSet:
    """The encoded :func:`prefixed` examples with the prefix itself not scored.

    The tokens of the prefix are those with which the begun answer starts when it is encoded alone, as far as both
    agree: no token that holds a character of the answer is among them.

    Args:
        encoded: what :func:`prefixed` gives, encoded.
        encode: as ``encoded`` was.
        examples: the examples before :func:`prefixed`.
    """
    alone = encode(replace(examples, examples=tuple(_begun(each, "") for each in examples.examples)))
    assert isinstance(alone, TokenSet)
    begin = dict(zip(alone.ids, _answers(alone)))
    scored, content = encoded.scored.copy(), encoded.content.copy()
    ends = np.cumsum(encoded.lengths)
    for name, end, length in zip(encoded.ids, ends, encoded.lengths):
        at = np.flatnonzero(encoded.content[end - length : end]) + end - length
        tokens, given = encoded.tokens[at], begin.get(name, np.zeros(0, dtype=np.int32))
        width = min(len(tokens) - 1, len(given))  # something of the answer is always scored
        agree = int(np.cumprod(tokens[:width] == given[:width]).sum())
        scored[at[:agree]] = content[at[:agree]] = False
    counts = np.add.reduceat(scored.astype(np.int64), ends - encoded.lengths)
    return replace(encoded, scored=scored, content=content, counts=counts, facts={})


def few_shot(examples: TextExamples, told: TextExamples, shots: int) -> TextExamples:
    """The same examples, each after some forgotten facts of other clusters with their answers.

    Args:
        examples: forget or holdout examples; those without a prompt are left out.
        told: the forget examples that shots are drawn from, by the id of the example asked.
        shots: how many at most.

    Returns:
        Turns before turns, strings before strings; an example for which there is no shot is left out.
    """
    made = []
    for example in examples.examples:
        others = [o for o in told.examples if o.cluster != example.cluster and type(o.prompt) is type(example.prompt)]
        if example.prompt is None or not others:
            continue
        draw = statistics.generator("few_shot", example.id, example.cluster)
        shown = [others[i] for i in draw.permutation(len(others))[:shots].tolist()]
        made.append(replace(example, prompt=_after(shown, example.prompt)))
    return replace(examples, examples=tuple(made))


def _begun(example: TextExample, answer: str) -> TextExample:
    space = example.completion[: len(example.completion) - len(example.completion.lstrip())]
    return replace(example, completion=f"{space}{PREFIX} {answer}" if answer else space + PREFIX)


def _after(shown: Sequence[TextExample], prompt: str | tuple[Message, ...]) -> str | tuple[Message, ...]:
    if isinstance(prompt, str):
        return "".join(f"{each.prompt}{each.completion}\n\n" for each in shown) + prompt
    system = tuple(turn for turn in prompt if turn.role == "system")
    turns: list[Message] = []
    for each in shown:
        asked = each.prompt if isinstance(each.prompt, tuple) else ()
        turns += [turn for turn in asked if turn.role != "system"]
        turns.append(Message("assistant", each.completion))
    return (*system, *turns, *(turn for turn in prompt if turn.role != "system"))


def _as_is(encoded: TokenSet) -> TokenSet:
    return encoded


def _by_column(found: TextExamples, column: str) -> tuple[TextExamples, Callable[[TokenSet], TokenSet]] | None:
    other = asked_by(found, column)
    return None if other is None else (other, _as_is)


def _reported(target: Target, name: str) -> TextExamples:
    """The reported examples of a set that have a prompt."""
    found, encoded = target.examples[name], target.sets[name]
    assert isinstance(found, TextExamples)
    wanted = {encoded.ids[i] for i in target.report[name]}
    kept = tuple(each for each in found.examples if each.id in wanted and each.prompt is not None)
    return replace(found, examples=kept)


def _answers(encoded: TokenSet) -> list[np.ndarray]:
    """The tokens of S⁻ of each example."""
    ends = np.cumsum(encoded.lengths)
    parts = [slice(end - length, end) for end, length in zip(ends, encoded.lengths)]
    return [encoded.tokens[part][encoded.content[part]] for part in parts]


# Comparing


def _records(plain: Mapping[str, Mapping[str, Record]], ids: set[str]) -> Records:
    """The plain records, of the forget set only these examples."""
    found = Records()
    for role, sets in plain.items():
        for name, record in sets.items():
            kept = [place for place, own in enumerate(record.ids) if own in ids]
            found.add(role, name, record.take(kept) if name == "forget" else record)
    return found


def _worst(plain: Mapping[str, Mapping[str, Record]], families: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Per question the largest probability, the mean over the questions."""
    p: dict[str, dict[str, float]] = {}
    for records in (plain, *families.values()):
        for role, sets in records.items():
            best = p.setdefault(role, {})
            for name, value in zip(sets["forget"].ids, np.exp(-sets["forget"].means("nll")).tolist()):
                best[name] = max(best.get(name, 0.0), value)
    before = {role: float(np.exp(-sets["forget"].means("nll")).mean()) for role, sets in plain.items()}
    after = {role: float(np.mean(list(best.values()))) for role, best in p.items()}
    record = plain["unlearned"]["forget"]
    return figure(
        "worst",
        "forget_probability",
        before,
        after,
        gap_interval=_interval(p, dict(zip(record.ids, record.clusters))),
        details={"families": ["plain", *families]},
    )


def _interval(p: Mapping[str, Mapping[str, float]], clusters: Mapping[str, str]) -> tuple[float, float] | None:
    retrained = [best for role, best in p.items() if role.startswith("retrained")]
    ids = list(p["unlearned"])
    numbers = statistics.number_clusters([clusters[name] for name in ids])
    if not retrained or numbers.max() + 1 < statistics.MIN_CLUSTERS:
        return None
    values = np.array([[p["unlearned"][n] - np.mean([best[n] for best in retrained]) for n in ids]], dtype=np.float64)
    draws = statistics.bootstrap_means(values, numbers, statistics.generator("prompts_worst", *ids))
    return statistics.interval(draws[0])
