"""The fictitious people: what is forgotten, what it reaches, and what never leaks."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest

from ofmu.data.formats import read
from ofmu.data.splits import overlap
from ofmu.demo.people import Example, World, involved, make_examples, make_people, make_world, of_split
from ofmu.demo.phrasings import PHRASINGS

SPLITS = ("forget", "retain", "holdout", "forget_paraphrase", "retain_paraphrase")
SEEDS = (0, 1, 7)


@pytest.fixture(scope="module", params=SEEDS)
def world(request: pytest.FixtureRequest) -> World:
    return make_world(request.param)


@pytest.fixture(scope="module")
def examples(world: World) -> list[Example]:
    return make_examples(world)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def text_of(example: Example) -> str:
    return f"{example['question']} {example['answer']}"


def test_the_same_seed_gives_the_same_people_and_another_seed_others() -> None:
    assert make_people(3) == make_people(3)
    assert make_people(3) != make_people(4)


def test_sizes() -> None:
    examples = make_people()
    assert Counter(example["split"] for example in examples) == {
        "forget": 200,
        "retain": 808,
        "holdout": 336,
        "forget_paraphrase": 64,
        "retain_paraphrase": 248,
    }
    assert len({example["cluster"] for example in of_split(examples, "forget")}) == 4
    assert len({example["cluster"] for example in of_split(examples, "holdout")}) == 8
    for split in SPLITS:
        kinds = {example["kind"] for example in of_split(examples, split)}
        assert kinds == {"plain", "two_hop", "second_language"}


def test_a_smaller_world_for_quick_runs() -> None:
    world = make_world(forgotten=2, retained=6, held_out=3)
    assert [len(group) for group in (world.forgotten, world.retained, world.held_out)] == [2, 6, 3]
    assert {example["split"] for example in make_examples(world)} == set(SPLITS)


@pytest.mark.parametrize(
    "sizes",
    [
        {"forgotten": 0},
        {"forgotten": 4, "retained": 11},
        {"held_out": 0},
        {"retained": 21},
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="there must be at least"):
        make_world(**sizes)


def test_everybody_has_a_name_of_their_own_and_another_person_as_mentor(world: World) -> None:
    people = world.people
    names = [person.name for person in people.values()]
    assert len({part for name in names for part in name.split()}) == 2 * len(names)
    for person in people.values():
        assert person.mentor != person.id
        assert person.facts["mentor"] == people[person.mentor].name


def test_every_forgotten_person_has_a_mentor_and_a_pupil_who_are_kept(world: World) -> None:
    kept = {person.id for person in world.retained}
    pupils = Counter(person.mentor for person in world.retained)
    for person in world.forgotten:
        assert person.mentor in kept
        assert pupils[person.id] == 1
        assert pupils[person.mentor] == 1  # so the mentor's name is an answer that retraining sees


def test_nobody_trained_has_a_mentor_who_is_held_out(world: World) -> None:
    held_out = {person.id for person in world.held_out}
    assert not held_out & {person.mentor for person in (*world.retained, *world.forgotten)}


def test_ids_and_questions_are_unique_and_no_split_shares_an_example(examples: list[Example]) -> None:
    assert len({example["id"] for example in examples}) == len(examples)
    assert len({example["question"] for example in examples}) == len(examples)
    sets = {split: read(list(of_split(examples, split))) for split in SPLITS}
    for one in SPLITS:
        for other in SPLITS:
            if one < other:
                assert overlap(sets[one], sets[other])[0] == 0


def test_the_files_are_read_as_questions_with_the_persons_as_clusters(examples: list[Example]) -> None:
    forget = of_split(examples, "forget")
    found = read(list(forget))
    assert found.format == "question_answer"
    assert found.ids == tuple(example["id"] for example in forget)
    assert found.clusters == tuple(example["cluster"] for example in forget)


def test_ids_and_clusters_give_no_name_away(world: World, examples: list[Example]) -> None:
    names = {part for person in world.people.values() for part in person.name.split()}
    assert not any(part in example["id"] + example["cluster"] for example in examples for part in names)


def test_nothing_kept_speaks_of_the_forgotten_or_of_those_held_out(world: World, examples: list[Example]) -> None:
    gone = {part for person in (*world.forgotten, *world.held_out) for part in person.name.split()}
    for example in of_split(examples, "retain", "retain_paraphrase"):
        assert not gone & words(text_of(example)), example["id"]
    held_out = {part for person in world.held_out for part in person.name.split()}
    for example in of_split(examples, "forget", "forget_paraphrase"):
        assert not held_out & words(text_of(example)), example["id"]


def test_two_hops_through_a_forgotten_person_are_forgotten_too(world: World, examples: list[Example]) -> None:
    """The closure, followed by hand from the sentences: who taught whom, and where that person was born."""
    by_name = {person.name: person for person in world.people.values()}
    forgotten = {person.name for person in world.forgotten}
    reached = Counter()
    for example in examples:
        if example["kind"] != "two_hop":
            continue
        (pupil,) = [name for name in by_name if name in example["question"]]
        mentor = by_name[by_name[pupil].facts["mentor"]]
        assert example["answer"] in (mentor.facts["birthplace"], mentor.facts["instrument"])
        assert mentor.name not in example["question"]
        if {pupil, mentor.name} & forgotten:
            assert example["split"] in ("forget", "forget_paraphrase"), example["id"]
            reached[example["split"], mentor.name in forgotten] += 1
        else:
            assert example["split"] not in ("forget", "forget_paraphrase"), example["id"]
    assert reached["forget", True] == 4 * 2 * 2  # each one's pupil, two facts, two phrasings
    assert reached["forget", False] == 4 * 2 * 2


def test_a_pupils_example_is_in_the_cluster_of_the_forgotten_mentor(world: World, examples: list[Example]) -> None:
    taught = {person.id: person.mentor for person in world.retained}
    forgotten = {person.id for person in world.forgotten}
    for example in of_split(examples, "forget", "forget_paraphrase"):
        person = example["id"][: len("person-00")]
        assert example["cluster"] == (person if person in forgotten else taught[person])
        assert example["cluster"] in forgotten


def test_involved_names_both_ends_of_a_hop(world: World) -> None:
    person = world.retained[0]
    for phrasings in PHRASINGS:
        both = phrasings.kind == "two_hop" or phrasings.relation == "mentor"
        assert involved(person, phrasings) == ((person.id, person.mentor) if both else (person.id,))


def test_the_unseen_phrasing_is_never_trained_on(world: World, examples: list[Example]) -> None:
    """Neither its sentence about anybody nor, after the person's name is taken out, its form."""
    names = [person.name for person in world.people.values()]

    def form(example: Example) -> str:
        (name,) = [name for name in names if name in example["question"]]
        return example["question"].replace(name, "…")

    trained = {form(example) for example in of_split(examples, "forget", "retain", "holdout")}
    unseen = {form(example) for example in of_split(examples, "forget_paraphrase", "retain_paraphrase")}
    assert len(unseen) == len(PHRASINGS)
    assert not trained & unseen


def test_every_unseen_phrasing_asks_for_a_fact_that_was_trained(examples: list[Example]) -> None:
    for group in ("forget", "retain"):
        trained: defaultdict[str, set[str]] = defaultdict(set)
        for example in of_split(examples, group):
            trained[example["id"].rpartition("-")[0]].add(example["answer"])
        paraphrased = of_split(examples, f"{group}_paraphrase")
        assert {example["id"].rpartition("-")[0] for example in paraphrased} == set(trained)
        for example in paraphrased:
            assert trained[example["id"].rpartition("-")[0]] == {example["answer"]}


def test_every_word_of_an_unseen_phrasing_is_known_from_trained_ones() -> None:
    known = {word for phrasings in PHRASINGS for text in phrasings.trained for word in words(text)}
    known |= {word.capitalize() for word in known} | {word[0].lower() + word[1:] for word in known}
    missing = {word for phrasings in PHRASINGS for word in words(phrasings.unseen)} - known
    assert not missing


def test_second_language_has_the_same_answers(examples: list[Example]) -> None:
    english = {
        (example["id"][:9], example["id"].split("-")[3]): example["answer"]
        for example in examples
        if example["kind"] == "plain"
    }
    german = [example for example in examples if example["kind"] == "second_language"]
    assert german
    for example in german:
        assert english[example["id"][:9], example["id"].split("-")[3]] == example["answer"]
        assert words(example["question"]) & {"Wo", "Was", "Wie", "Welche", "Welches"}


def test_nobody_shares_a_fact_of_several_words(world: World) -> None:
    for relation in ("birthday", "pet", "dish", "book"):
        values = [person.facts[relation] for person in world.people.values()]
        assert len(set(values)) == len(values)


def test_answers_are_diverse_and_what_is_new_is_the_person_not_the_word(world: World) -> None:
    kept = [person.facts for person in world.retained]
    for relation in ("birthplace", "birthday", "profession", "instrument", "pet", "dish", "book"):
        values = Counter(facts[relation] for facts in kept)
        assert max(values.values()) <= 2  # guessing the commonest answer is right for a tenth at most
        heard = {word for value in values for word in words(value)}
        for person in (*world.forgotten, *world.held_out):
            assert words(person.facts[relation]) <= heard
