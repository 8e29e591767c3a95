"""Fictitious people: facts as questions and answers, four people to forget, others that nobody is trained on.

All of it is made up here from a seed. Each person has eight facts (birthplace, birthday, profession, instrument,
pet, dish, book, mentor). The mentor is another person, so some questions need two hops, and forgetting a person
reaches into questions about others: an example belongs to the forget set when *any* person that it is about, goes
through or names is forgotten. The retain set then never speaks of them, and retraining on it really is without them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from ofmu.demo import words
from ofmu.demo.phrasings import PHRASINGS, Kind, Phrasings

Split = Literal["forget", "retain", "holdout", "forget_paraphrase", "retain_paraphrase"]


class Example(TypedDict):
    """One question with its answer; ``cluster`` is the person whom forgetting it is about."""

    id: str
    question: str
    answer: str
    cluster: str
    kind: Kind
    split: Split


@dataclass(frozen=True)
class Person:
    """Somebody who does not exist; ``mentor`` is the id of another person of the same world."""

    id: str
    name: str
    mentor: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class World:
    """All people, told apart by what happens to them: trained and forgotten, trained and kept, never trained on."""

    forgotten: tuple[Person, ...]
    retained: tuple[Person, ...]
    held_out: tuple[Person, ...]

    @property
    def people(self) -> dict[str, Person]:
        """Everybody by id."""
        return {person.id: person for person in (*self.forgotten, *self.retained, *self.held_out)}


def make_world(seed: int = 0, *, forgotten: int = 4, retained: int = 20, held_out: int = 8) -> World:
    """Invent the people.

    The kept people stand in a ring, each the mentor of the next; spread along it, each forgotten person takes the
    place of one mentor, and has a mentor who is kept and who has another pupil. Of those held out every other one has
    a mentor of that sort, the others one who is held out. Apart from their names, whatever is true of somebody
    forgotten or held out is also true of somebody kept: to a model trained on the kept people alone both are equally
    new, so the holdout is a fair picture of what forgetting should lead to.

    Args:
        seed: of everything random here.
        forgotten: number of people to forget, ≥ 1.
        retained: number of people to keep, ≥ 3 for each one forgotten.
        held_out: number of people never trained on, ≥ 1.

    Returns:
        The world; the same arguments give the same people.

    Raises:
        ValueError: too few people, or more than there are names for.
    """
    count = forgotten + retained + held_out
    if forgotten < 1 or retained < 3 * forgotten or held_out < 1 or count > len(words.FIRST_NAMES):
        raise ValueError(
            f"{forgotten} forgotten, {retained} retained, {held_out} held out: there must be at least 1 forgotten, "
            f"3 retained for each of them, 1 held out, and at most {len(words.FIRST_NAMES)} people together"
        )
    rng = random.Random(seed)
    ids = [f"person-{number:02d}" for number in range(count)]
    names = _names(rng, count)
    facts = _facts(rng, (retained, forgotten, held_out))
    mentors = _mentors(rng, retained, forgotten, held_out)
    everybody = tuple(
        Person(ids[i], names[i], ids[mentors[i]], {**facts[i], "mentor": names[mentors[i]]}) for i in range(count)
    )
    return World(
        forgotten=everybody[retained : retained + forgotten],
        retained=everybody[:retained],
        held_out=everybody[retained + forgotten :],
    )


def make_examples(world: World) -> list[Example]:
    """Every question about a world's people, with its answer and its split.

    Args:
        world: the people.

    Returns:
        The splits ``forget`` and ``retain`` (trained on), ``holdout`` (the same phrasings about people never trained
        on), ``forget_paraphrase`` and ``retain_paraphrase`` (the unseen phrasing of the trained facts). An example
        that involves a forgotten person is in a forget split, in that person's cluster, whoever the question is about.
    """
    people = world.people
    forgotten = {person.id for person in world.forgotten}
    held_out = {person.id for person in world.held_out}
    examples: list[Example] = []
    for person in people.values():
        for phrasings in PHRASINGS:
            touched = [one for one in involved(person, phrasings) if one in forgotten]
            cluster = touched[0] if touched else person.id
            answer = _answer(people, person, phrasings)
            for number, phrasing in enumerate((*phrasings.trained, phrasings.unseen)):
                unseen = number == len(phrasings.trained)
                if person.id in held_out and unseen:
                    continue
                examples.append(
                    {
                        "id": f"{person.id}-{phrasings.kind}-{phrasings.relation}-{'unseen' if unseen else number}",
                        "question": phrasing.format(x=person.name),
                        "answer": answer,
                        "cluster": cluster,
                        "kind": phrasings.kind,
                        "split": _split(bool(touched), person.id in held_out, unseen),
                    }
                )
    return examples


def make_people(seed: int = 0, *, forgotten: int = 4, retained: int = 20, held_out: int = 8) -> list[Example]:
    """The demo's examples: :func:`make_examples` of :func:`make_world`, in a fixed order."""
    return make_examples(make_world(seed, forgotten=forgotten, retained=retained, held_out=held_out))


def of_split(examples: Iterable[Example], *splits: Split) -> list[Example]:
    """The examples of some splits, in their order."""
    return [example for example in examples if example["split"] in splits]


def involved(person: Person, phrasings: Phrasings) -> tuple[str, ...]:
    """Ids of the people whom a question is about, goes through, or names in its answer."""
    if phrasings.kind == "two_hop" or phrasings.relation == "mentor":
        return (person.id, person.mentor)
    return (person.id,)


def _answer(people: Mapping[str, Person], person: Person, phrasings: Phrasings) -> str:
    subject = people[person.mentor] if phrasings.kind == "two_hop" else person
    return subject.facts[phrasings.relation]


def _split(touches_forgotten: bool, held_out: bool, unseen: bool) -> Split:
    if held_out:
        return "holdout"
    if touches_forgotten:
        return "forget_paraphrase" if unseen else "forget"
    return "retain_paraphrase" if unseen else "retain"


def _names(rng: random.Random, count: int) -> list[str]:
    """Full names in which every first and every last name occurs once."""
    first, last = _dealt(rng, words.FIRST_NAMES, count), _dealt(rng, words.LAST_NAMES, count)
    return [f"{one} {other}" for one, other in zip(first, last)]


def _mentors(rng: random.Random, retained: int, forgotten: int, held_out: int) -> list[int]:
    """The mentor's place of everybody; places are those of retained, then forgotten, then held out."""
    ring = rng.sample(range(retained), retained)
    mentors = {person: ring[place - 1] for place, person in enumerate(ring)}
    spread = [retained * k // forgotten for k in range(forgotten)]
    known = [ring[place + 1] for place in spread]  # mentors of somebody kept, whoever else they are given here
    for k, place in enumerate(spread):
        mentors[ring[place]] = retained + k
        mentors[retained + k] = known[k]
    first = retained + forgotten
    for k in range(held_out):
        mentors[first + k] = first + k - 1 if k % 2 else known[k // 2 % forgotten]
    return [mentors[place] for place in range(first + held_out)]


def _facts(rng: random.Random, sizes: Sequence[int]) -> list[dict[str, str]]:
    """One dict of facts a person, group after group; each group has every word of a list about equally often."""

    def values(*pools: Sequence[str]) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        for size in sizes:
            found += _combinations(rng, pools, size, taken=found)
        return found

    drawn = {
        "birthplace": [town for (town,) in values(words.TOWNS)],
        "birthday": [f"{day} {month}" for day, month in values(words.DAYS, words.MONTHS)],
        "profession": [trade for (trade,) in values(words.TRADES)],
        "instrument": [instrument for (instrument,) in values(words.INSTRUMENTS)],
        "pet": [
            f"{coat} {animal} {name}" for coat, animal, name in values(words.COATS, words.ANIMALS, words.PET_NAMES)
        ],
        "dish": [f"{base} {dish} with {side}" for base, dish, side in values(words.BASES, words.DISHES, words.SIDES)],
        "book": [f"The {quality} {thing}" for quality, thing in values(words.QUALITIES, words.THINGS)],
    }
    return [dict(zip(drawn, row)) for row in zip(*drawn.values())]


def _combinations(
    rng: random.Random, pools: Sequence[Sequence[str]], size: int, *, taken: Sequence[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """One value of each pool, ``size`` times; nobody shares a fact of several words with anybody."""
    while True:
        found = list(zip(*(_dealt(rng, pool, size) for pool in pools)))
        if len(pools) == 1 or len(set(found) - set(taken)) == size:
            return found


def _dealt(rng: random.Random, pool: Sequence[str], count: int) -> list[str]:
    """``count`` draws from a pool like cards: all of it, shuffled, before any of it again."""
    cards: list[str] = []
    while len(cards) < count:
        cards += rng.sample(pool, len(pool))
    return cards[:count]
