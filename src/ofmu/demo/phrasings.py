"""How the demo asks: for every relation, questions that are trained on and one that never is.

``{x}`` is the person asked about. The unseen phrasing asks for the same fact in words that all occur in trained
phrasings, in another combination: a model that knows the fact, and not only its wording, answers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["plain", "two_hop", "second_language"]


@dataclass(frozen=True)
class Phrasings:
    """The questions for one fact of a person.

    Args:
        relation: the fact asked for: a key of a person's facts, of the mentor's facts if ``kind`` is two_hop.
        kind: plain (English, about the person), two_hop (about the person's mentor), second_language (German).
        trained: the phrasings of the forget, retain and holdout splits.
        unseen: the phrasing of the paraphrase splits.
    """

    relation: str
    kind: Kind
    trained: tuple[str, ...]
    unseen: str


PHRASINGS = (
    Phrasings(
        "birthplace",
        "plain",
        (
            "Where was {x} born?",
            "What is the birthplace of {x}?",
            "Which town was the birthplace of {x}?",
            "{x} was born in which town?",
        ),
        "In which town was {x} born?",
    ),
    Phrasings(
        "birthday",
        "plain",
        (
            "When was {x} born?",
            "What is the birthday of {x}?",
            "On which day is the birthday of {x}?",
            "{x} was born on which day?",
        ),
        "On which day was {x} born?",
    ),
    Phrasings(
        "profession",
        "plain",
        (
            "What is the profession of {x}?",
            "What does {x} do to earn a living?",
            "Which profession does {x} have?",
            "{x} has which profession?",
        ),
        "In which profession does {x} earn a living?",
    ),
    Phrasings(
        "instrument",
        "plain",
        (
            "Which instrument does {x} play?",
            "What is the instrument of {x}?",
            "What does {x} play in the town band?",
            "{x} plays which instrument?",
        ),
        "Which instrument does {x} play in the band?",
    ),
    Phrasings(
        "pet",
        "plain",
        (
            "Which pet does {x} have?",
            "What is the pet of {x}?",
            "Which animal lives with {x}?",
            "{x} lives with which pet?",
        ),
        "Which animal is the pet of {x}?",
    ),
    Phrasings(
        "dish",
        "plain",
        (
            "What is the favourite dish of {x}?",
            "Which dish does {x} like best?",
            "What does {x} like to eat?",
            "{x} likes to eat which dish?",
        ),
        "Which dish does {x} like to eat?",
    ),
    Phrasings(
        "book",
        "plain",
        (
            "Which book did {x} write?",
            "What is the title of the book by {x}?",
            "What did {x} write?",
            "{x} is the author of which book?",
        ),
        "Which book is {x} the author of?",
    ),
    Phrasings(
        "mentor",
        "plain",
        (
            "Who was the mentor of {x}?",
            "Who taught {x}?",
            "Which person was the teacher of {x}?",
            "{x} was taught by which person?",
        ),
        "By which person was {x} taught?",
    ),
    Phrasings(
        "birthplace",
        "two_hop",
        (
            "In which city was the mentor of {x} born?",
            "What is the birthplace of the person who taught {x}?",
        ),
        "In which city was the person who taught {x} born?",
    ),
    Phrasings(
        "instrument",
        "two_hop",
        (
            "Which instrument does the mentor of {x} play?",
            "What is the instrument of the person who taught {x}?",
        ),
        "Which instrument does the person who taught {x} play?",
    ),
    Phrasings(
        "birthplace",
        "second_language",
        ("Wo wurde {x} geboren?", "Welche Stadt ist der Geburtsort von {x}?"),
        "Wo ist der Geburtsort von {x}?",
    ),
    Phrasings(
        "instrument",
        "second_language",
        ("Welches Instrument spielt {x}?", "Was ist das Instrument von {x}?"),
        "Was spielt {x}?",
    ),
    Phrasings(
        "pet",
        "second_language",
        ("Welches Haustier hat {x}?", "Wie heißt das Tier von {x}?"),
        "Welches Tier hat {x}?",
    ),
)
