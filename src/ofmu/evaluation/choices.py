"""Multiple choice, the pass over the model: how likely each letter is after its question (METRICS.md §6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ofmu.data.examples import TextExample, TextExamples
from ofmu.data.tokens import TokenSet, encode_text
from ofmu.engine.forward import rows
from ofmu.engine.modes import evaluating
from ofmu.errors import InputError
from ofmu.evaluation.multiple_choice import LETTERS, shifted_options


@dataclass(frozen=True, eq=False)
class ChoiceScores:
    """Log-likelihoods of the letters after N questions with O options each.

    Args:
        ids: the questions' ids.
        clusters: their clusters.
        subjects: what each is about; "" where not said.
        log_p: float64 (N, O), Σ log p of the tokens of " A", " B" …, in nats.
        gold: int64 (N,), the right letter's number.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    subjects: tuple[str, ...]
    log_p: NDArray[np.float64]
    gold: NDArray[np.int64]


def choice_prompt(question: str, choices: Sequence[str], subject: str | None = None, shots: Sequence[str] = ()) -> str:
    r"""The text before the letter.

    Args:
        question: stripped.
        choices: the options, A first.
        subject: its underscores become spaces; None: nothing is said of a subject.
        shots: solved questions of :func:`solved`, in order.

    >>> choice_prompt("1 + 1?", ["2", "3"], "basic_sums")
    'The following are multiple choice questions (with answers) about basic sums.\n\n1 + 1?\nA. 2\nB. 3\nAnswer:'
    """
    about = f" about {subject.replace('_', ' ').strip()}" if subject and subject.strip() else ""
    heading = f"The following are multiple choice questions (with answers){about}.\n\n"
    return heading + "".join(f"{shot}\n\n" for shot in shots) + _with_options(question, choices)


def solved(example: TextExample) -> str:
    """A question with its options and the right letter, to be put before another one."""
    question = _question(example)
    return f"{_with_options(question.text, question.choices)} {LETTERS[question.gold]}"


def score_choices(
    model: nn.Module,
    questions: TextExamples,
    tokenizer: Any,
    *,
    max_length: int,
    batch_size: int = 16,
    shots: Sequence[TextExample] = (),
    shift: int = 0,
    subject: str | None = None,
    device: torch.device | str | None = None,
) -> ChoiceScores:
    """Log p of " A", " B" … after each question.

    Where all letters of a question are one token after the same prompt, one forward pass gives them all; otherwise
    each continuation has its own. No end-of-turn token is counted. Log-softmax in float32, sums in float64.

    Args:
        model: a causal language model.
        questions: of the format ``multiple_choice``, all with the same number of options.
        tokenizer: of the model.
        max_length: the model's context; of a longer prompt the beginning is cut.
        batch_size: sequences a forward pass.
        shots: solved questions before each one; those of its own subject if there are any of it.
        shift: options moved on by so many letters, see :func:`ofmu.evaluation.multiple_choice.shifted_options`;
            ``gold`` of the result is moved on too.
        subject: for questions that say none.
        device: where the model is; None: where its first parameter is.

    Raises:
        InputError: for examples that are no multiple choice, unequal numbers of options, or a question too long.

    Source: METRICS.md §6.
    """
    asked = _asked(questions)
    options = len(asked[0].choices)
    continued = [
        replace(example, id=f"{example.id}#{letter}", prompt=prompt, completion=f" {LETTERS[letter]}", extra={})
        for example, question in zip(questions.examples, asked)
        for prompt in [_prompt(question, shift, subject, shots)]
        for letter in range(options)
    ]
    encoded = encode_text(replace(questions, examples=tuple(continued)), tokenizer, max_length=max_length)
    if len(encoded) < len(continued):
        raise InputError(
            f"{questions.source}: no token of a letter can be scored, or it does not fit: {encoded.dropped}"
        )
    device = next(model.parameters()).device if device is None else device
    with evaluating(model), torch.no_grad():
        log_p = _log_likelihoods(model, _letters_only(encoded), options, batch_size, device)
    return ChoiceScores(
        ids=questions.ids,
        clusters=questions.clusters,
        subjects=tuple(question.subject or subject or "" for question in asked),
        log_p=log_p,
        gold=np.array([(question.gold + shift) % options for question in asked], dtype=np.int64),
    )


def before_the_letter(questions: TextExamples) -> tuple[TextExamples, NDArray[np.int64]]:
    """Each question up to its letter, zero-shot, and the numbers of the right letters (N,).

    The same letter follows every question, so that nothing of a text tells the right one.

    Raises:
        InputError: as :func:`score_choices`.
    """
    asked = _asked(questions)
    texts = [
        replace(example, prompt=_prompt(question, 0, None, ()), completion=f" {LETTERS[0]}", extra={})
        for example, question in zip(questions.examples, asked)
    ]
    gold = np.array([question.gold for question in asked], dtype=np.int64)
    return replace(questions, examples=tuple(texts)), gold


class _Question(NamedTuple):
    """One of multiple choice.

    Args:
        text: what is asked.
        choices: the options, A first.
        gold: index of the right one.
        subject: what it is about; None: not said.
    """

    text: str
    choices: list[str]
    gold: int
    subject: str | None


def _asked(questions: TextExamples) -> list[_Question]:
    """One or more questions, all with the same number of options."""
    if not len(questions):
        raise InputError(f"{questions.source} holds no questions")
    found = [_question(example) for example in questions.examples]
    counts = {len(question.choices) for question in found}
    if len(counts) > 1:
        raise InputError(f"{questions.source}: questions with {min(counts)} and with {max(counts)} choices")
    return found


def _question(example: TextExample) -> _Question:
    choices, gold = example.extra.get("choices"), example.extra.get("answer")
    if not isinstance(choices, list) or not isinstance(gold, int):
        raise InputError(f"id '{example.id}' is no multiple choice: columns question, choices, answer are needed")
    subject = example.extra.get("subject")
    return _Question(example.prompt_text, choices, gold, subject if isinstance(subject, str) else None)


def _with_options(question: str, choices: Sequence[str]) -> str:
    lines = "".join(f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, choices))
    return f"{question.strip()}\n{lines}Answer:"


def _prompt(question: _Question, shift: int, subject: str | None, shots: Sequence[TextExample]) -> str:
    own = question.subject
    of_it = [shot for shot in shots if own is not None and shot.extra.get("subject") == own]
    before = [solved(shot) for shot in of_it or shots]
    return choice_prompt(question.text, shifted_options(question.choices, shift), own or subject, before)


def _letters_only(encoded: TokenSet) -> TokenSet:
    """Scored are the tokens of the letters, not the end of the turn."""
    where = np.repeat(np.arange(len(encoded)), encoded.lengths)
    counts = np.bincount(where, weights=encoded.content, minlength=len(encoded)).astype(np.int64)
    return replace(encoded, scored=encoded.content, counts=counts)


def _log_likelihoods(
    model: nn.Module, encoded: TokenSet, options: int, batch_size: int, device: torch.device | str
) -> NDArray[np.float64]:
    """(N, O) from N · O sequences, those of one question one after another."""
    log_p = np.empty(len(encoded))
    at_once, alone, letter = _passes(encoded, options)
    for part in _longest_first(encoded, at_once, batch_size):
        wanted = torch.from_numpy(np.stack([letter[i : i + options] for i in part])).to(device)
        logits = rows(model, encoded.batch(part).to(device)).logits  # one row a question
        values = logits.log_softmax(dim=1).gather(1, wanted).cpu().double().numpy()
        for index, row in zip(part, values):
            log_p[index : index + options] = row
    for part in _longest_first(encoded, alone, batch_size):
        found = rows(model, encoded.batch(part).to(device))
        log_p[part] = found.sums(found.log_probabilities().double()).cpu().numpy()
    return log_p.reshape(-1, options)


def _passes(encoded: TokenSet, options: int) -> tuple[list[int], list[int], NDArray[np.int64]]:
    """How the sequences are gone through, and the first token of each one's letter (N · O,).

    First those that stand for all options of their question, since its letters differ in one token only; then those
    that are read one by one.
    """
    at_once: list[int] = []
    alone: list[int] = []
    letter = np.zeros(len(encoded), dtype=np.int64)
    for first in range(0, len(encoded), options):
        group = range(first, first + options)
        parts = [encoded.part(i) for i in group]
        places = [part.start + int(np.flatnonzero(encoded.scored[part])[0]) for part in parts]
        letter[first : first + options] = encoded.tokens[places]
        before = {encoded.tokens[part.start : place].tobytes() for part, place in zip(parts, places)}
        one = len(before) == 1 and (encoded.counts[first : first + options] == 1).all()
        (at_once if one else alone).extend([first] if one else group)
    return at_once, alone, letter


def _longest_first(encoded: TokenSet, chosen: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    order = sorted(chosen, key=lambda index: -int(encoded.lengths[index]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
