"""Further passes over a model: its answers, and its gradients; what they find goes into the records."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ofmu.data.examples import Examples, TextExamples
from ofmu.data.prompts import Prompts, encode_prompts, prompt_room
from ofmu.data.tokens import TokenSet, encode_text
from ofmu.engine.forward import Encoded
from ofmu.engine.processes import Processes
from ofmu.errors import InputError
from ofmu.evaluation.answers import AnswerFacts, answer_facts, together, with_generations
from ofmu.evaluation.choices import ChoiceScores, score_choices
from ofmu.evaluation.documents import LOSS, TOKENS, document_losses
from ofmu.evaluation.generation import Generations, generate
from ofmu.evaluation.gradient_norms import gradient_norms
from ofmu.evaluation.multiple_choice import multiple_choice, permutation_accuracy
from ofmu.evaluation.record import Record
from ofmu.models.loaded import Loaded
from ofmu.runs.config import Evaluate
from ofmu.runs.inputs import LONGEST, Sets, longest

Heard = dict[tuple[str, str], tuple[Prompts, Generations]]
"""(fingerprint of a model, set) → what this process asked it there, and what it said."""


@dataclass(frozen=True)
class Questions:
    """What models are asked.

    Args:
        sets: set → questions with their true answers.
        max_new_tokens: longest answer, in tokens.
    """

    sets: Mapping[str, TextExamples]
    max_new_tokens: int


@dataclass(frozen=True)
class Further:
    """The passes after the first, alike for every model of an evaluation.

    Args:
        asked: what the models answer; None: nothing.
        choices: set → multiple-choice questions.
        documents: set → texts without a prompt.
        max_length: longest input in tokens, in which documents are read; None: the model's context.
        gradients_of: sets of which each example's gradient is measured, as tokens.
        batch_size: answers at a time.
        heard: keeps the answers for the base model to read; None: they are not kept.
    """

    asked: Questions | None
    choices: Mapping[str, TextExamples]
    documents: Mapping[str, TextExamples]
    max_length: int | None
    gradients_of: Mapping[str, TokenSet]
    batch_size: int
    heard: Heard | None = None

    def add(self, records: Mapping[str, Record], loaded: Loaded, processes: Processes) -> dict[str, Record]:
        """The records of one placed model with what these passes find."""
        found = dict(records)
        if self.asked is not None:
            found = answered(
                found, loaded, self.asked, processes=processes, batch_size=self.batch_size, heard=self.heard
            )
        for name, examples in self.choices.items():
            found[name] = chosen(found[name], examples, loaded, processes=processes, batch_size=self.batch_size)
        for name, examples in self.documents.items():
            context = longest(loaded, self.max_length)
            found[name] = read_whole(
                found[name], examples, loaded, context, processes=processes, batch_size=self.batch_size
            )
        for name, encoded in self.gradients_of.items():
            norms = _norms(loaded, encoded, processes)
            found[name] = replace(found[name], facts={**found[name].facts, "gradnorm": norms})
        return found


def read_whole(
    record: Record,
    examples: TextExamples,
    loaded: Loaded,
    context: int,
    *,
    processes: Processes,
    batch_size: int,
) -> Record:
    """The record of documents with the facts ``document_nll`` and ``document_tokens``.

    Documents that fit into the context have been read; only the longer ones are read again, in windows.

    Args:
        record: of the first pass, in which long documents were cut.
        examples: with the documents among them.
        loaded: the model, placed on the device.
        context: longest input in tokens.
        processes: where it runs; the ranks share the long documents and all get all facts.
        batch_size: windows at a time.
    """
    measured = set(record.ids)
    mine = tuple(each for each in examples.examples if each.prompt is None and each.id in measured)
    if not mine:
        return record
    plain = replace(examples, examples=mine)
    known = np.isin(record.ids, plain.ids)
    read = {LOSS: record.sums("nll"), TOKENS: record.counts().astype(np.float64)}
    facts = {name: np.where(known, np.where(np.isfinite(each), each, np.inf), np.nan) for name, each in read.items()}
    whole = encode_text(plain, loaded.tokenizer, max_length=sys.maxsize)
    before = dict(zip(record.ids, facts[TOKENS].tolist()))
    long = [place for place, name in enumerate(whole.ids) if whole.counts[place] > before[name]]
    if long:
        again = _read_long(whole.take(long), loaded, context, processes, batch_size)
        places = [record.ids.index(name) for name in again.ids]
        for name, values in again.columns.items():
            facts[name][places] = values
    return replace(record, facts={**record.facts, **facts})


def _read_long(documents: TokenSet, loaded: Loaded, context: int, processes: Processes, batch_size: int) -> AnswerFacts:
    """Facts of documents in windows, each rank's share on that rank."""
    mine = processes.share(len(documents))
    facts = []
    if len(mine):
        with processes.autocast():
            facts.append(
                document_losses(
                    loaded.model, documents.take(mine), context, batch_size=batch_size, device=processes.device
                )
            )
    return together(processes.gathered(facts))


def _norms(loaded: Loaded, encoded: TokenSet, processes: Processes) -> np.ndarray:
    """Each example's gradient norm, each rank's share on that rank: (N,)."""
    mine = processes.share(len(encoded))
    own = gradient_norms(loaded.model, encoded.take(mine), device=processes.device) if len(mine) else ()
    norms = np.empty(len(encoded))
    for index, norm in processes.gathered(list(zip(mine, own))):
        norms[index] = norm
    return norms


def check_asked(config: Evaluate, sets: Sets) -> None:
    """Make sure, before the work begins, that these examples allow the passes asked for.

    Raises:
        InputError: one of them is not possible.
    """
    texts = [each for each in sets.examples.values() if isinstance(each, TextExamples)]
    for flag, given in (("--generate", config.generate), ("--gradient-norms", config.gradient_norms)):
        if given and not texts:
            raise InputError(f"{flag} is for language models, but these are images; leave it out")
    if config.generate and not any(example.prompt is not None for each in texts for example in each.examples):
        raise InputError("--generate needs questions, but these are texts without a prompt; leave it out")
    if config.gradient_norms and "holdout" not in sets.examples:
        raise InputError("--gradient-norms is an attack that tells the forget set from the holdout; give --holdout")


def further(config: Evaluate, sets: Sets, chosen: Mapping[str, Encoded]) -> Further | None:
    """What an evaluation of texts does after the first pass; None for images."""
    if sets.encoded["forget"].modality != "text":
        return None
    asked = questions(sets, chosen, config.max_new_tokens) if config.generate else None
    choices = {
        name: own for name in chosen if (own := sets.examples.get(name)) is not None and own.format == "multiple_choice"
    }
    documents = {name: sets.examples[name] for name in chosen if _has_documents(sets.examples.get(name))}
    wanted = ("forget", "holdout") if config.gradient_norms else ()
    tokens = {name: chosen[name] for name in wanted if name in chosen}
    heard: Heard | None = {} if asked is not None and config.base is not None else None
    return Further(asked, choices, documents, config.max_length, tokens, config.batch_size, heard)  # pyright: ignore[reportArgumentType]


def _has_documents(examples: Examples | None) -> bool:
    return isinstance(examples, TextExamples) and any(each.prompt is None for each in examples.examples)


def questions(sets: Sets, chosen: Mapping[str, Encoded], max_new_tokens: int) -> Questions:
    """What is asked in an evaluation: every measured example that has a prompt, but the holdout's.

    Args:
        sets: all examples.
        chosen: set → the examples that are measured.
        max_new_tokens: longest answer, in tokens.
    """
    found = {}
    for name, encoded in chosen.items():
        own = sets.examples.get(name)
        if name == "holdout" or not isinstance(own, TextExamples):
            continue
        wanted = set(encoded.ids)
        rows = tuple(example for example in own.examples if example.id in wanted and example.prompt is not None)
        if rows:
            found[name] = replace(own, examples=rows)
    return Questions(found, max_new_tokens)


def answered(
    records: Mapping[str, Record],
    loaded: Loaded,
    asked: Questions,
    *,
    processes: Processes,
    batch_size: int,
    heard: Heard | None = None,
) -> dict[str, Record]:
    """The records with facts about the model's greedy answers, where it was asked.

    Args:
        records: set → record of the model.
        loaded: the model, placed on the device.
        asked: what it is asked.
        processes: where it runs.
        batch_size: answers at a time.
        heard: the answers are put there; None: they are not kept.

    The ranks share the questions and all get all facts.
    """
    found = dict(records)
    room = prompt_room(loaded.context, asked.max_new_tokens)
    with processes.autocast():
        for name, examples in asked.sets.items():
            if name not in records:
                continue
            mine = tuple(examples.examples[index] for index in processes.share(len(examples)))
            facts = []
            if mine:
                prompts = encode_prompts(replace(examples, examples=mine), loaded.tokenizer, max_length=room)
                said = generate(
                    loaded.model,
                    prompts,
                    max_new_tokens=asked.max_new_tokens,
                    batch_size=batch_size,
                    device=processes.device,
                )
                if heard is not None:
                    heard[loaded.fingerprint, name] = prompts, said
                facts.append(answer_facts(said, [example.completion for example in mine], loaded.tokenizer))
            found[name] = with_generations(records[name], together(processes.gathered(facts)))
    return found


def chosen(record: Record, examples: TextExamples, loaded: Loaded, *, processes: Processes, batch_size: int) -> Record:
    """The record of multiple-choice questions with which option the model chose, and in every order of the options.

    Facts are ``choice_accuracy``, ``prob_gold``, ``chosen_letter``, ``options`` and ``permutation_accuracy``. A
    question whose log-likelihoods are not finite is not counted as an answer: its facts are infinite, so that the score
    says so.
    """
    wanted = set(record.ids)
    rows = [each for each in examples.examples if each.id in wanted]
    mine = tuple(rows[index] for index in processes.share(len(rows)))
    facts = [_decided(replace(examples, examples=mine), loaded, processes, batch_size)] if mine else []
    return with_generations(record, together(processes.gathered(facts)))


def _decided(rows: TextExamples, loaded: Loaded, processes: Processes, batch_size: int) -> AnswerFacts:
    def scored(shift: int) -> ChoiceScores:
        return score_choices(
            loaded.model,
            rows,
            loaded.tokenizer,
            max_length=loaded.context or LONGEST,
            batch_size=batch_size,
            shift=shift,
            device=processes.device,
        )

    with processes.autocast():
        found = scored(0)
        options = found.log_p.shape[1]
        every = np.stack([found.log_p, *(scored(shift).log_p for shift in range(1, options))])  # (O, N, O)
    sound = np.isfinite(every).all(axis=(0, 2))
    names = ("choice_accuracy", "prob_gold", "chosen_letter", "permutation_accuracy")
    facts = {name: np.full(len(found.ids), np.inf) for name in names}
    if sound.any():
        decided = multiple_choice(found.log_p[sound], found.gold[sound])
        values = (decided.correct, decided.prob_gold, decided.choices)
        for name, each in zip(names, (*values, permutation_accuracy(every[:, sound], found.gold[sound]))):
            facts[name][sound] = each
    return AnswerFacts(found.ids, facts | {"options": np.full(len(found.ids), float(options))})
