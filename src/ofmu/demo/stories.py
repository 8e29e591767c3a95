"""The demo's stories: wrong labels forgotten, a class removed, people forgotten."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ofmu.demo import digits, people
from ofmu.demo.contest import METHODS, Contest, hold, seeded
from ofmu.demo.measure import Images, Texts
from ofmu.demo.tiny_llama import make_config, make_tokenizer
from ofmu.report.story import Story, StoryColumn

WRONG_LABELS = """A small convolutional network has learnt scikit-learn's handwritten digits with a tenth of the labels
wrong, and has memorised the wrong ones. It is to forget those images. Has it done so, it gives them the label that
their writer meant, as a network does that was retrained without them."""

REMOVED_CLASS = """The same kind of network, trained on correct labels, is to forget one digit altogether: never to
predict it again, and to tell the other nine as well as a network that has never seen it."""

PEOPLE = """A small language model has learnt some hundred facts about people who do not exist, asked in several
phrasings, over two hops and in a second language. It is to forget four of them. An unseen phrasing shows whether the
fact is gone, or only the sentence."""

LONG = {"steps": 800, "batch_size": 48, "learning_rate": 3e-3}
"""Training of the digits' network until wrong labels are memorised."""

SHORT = {"steps": 400, "batch_size": 32, "learning_rate": 2e-3}
"""Training where all labels are right."""

SHORTER = 4
"""A quick demo takes this fraction of the steps; it shows the path, not the quality."""


def wrong_labels(seed: int, *, quick: bool, batch: int = 32) -> Contest:
    """The first story on images."""
    story = digits.wrong_labels(seed)
    columns = (
        StoryColumn("true_label", "true label on the forgotten"),
        StoryColumn("test_accuracy", "test accuracy"),
        StoryColumn("mia", "loss attack (AUC)"),
    )
    return _images("wrong labels", WRONG_LABELS, story, columns, Images(story), quick=quick, batch=batch, recipe=LONG)


def removed_class(seed: int, *, quick: bool, digit: int = 3, batch: int = 32) -> Contest:
    """The second story on images."""
    story = digits.removed_class(seed, digit=digit)
    columns = (
        StoryColumn("removed_predicted", "removed digit still predicted"),
        StoryColumn("others_accuracy", "accuracy on the other digits"),
    )
    return _images(
        "a digit removed", REMOVED_CLASS, story, columns, Images(story, digit), quick=quick, batch=batch, recipe=SHORT
    )


def _images(
    name: str,
    question: str,
    story: digits.DigitStory,
    columns: tuple[StoryColumn, ...],
    gauge: Images,
    *,
    quick: bool,
    batch: int,
    recipe: dict[str, Any],
) -> Contest:
    from ofmu.data.images import Normalise
    from ofmu.models.convnet import ConvNetConfig, ConvNetForImageClassification

    transform = Normalise(digits.MEAN, digits.STD)
    steps = recipe["steps"] // (SHORTER if quick else 1)
    config = ConvNetConfig(widths=(16, 32), hidden_size=128)
    return Contest(
        name,
        question,
        columns,
        gauge,
        fresh=partial(seeded, lambda: ConvNetForImageClassification(config)),
        train=story.train,
        sets={"forget": story.forget, "retain": story.retain, "holdout": story.holdout, "test": story.test},
        training={**recipe, "transform": transform, "steps": steps},
        options={"transform": transform, "budget": 240 // (SHORTER if quick else 1), "batch_size": batch},
        methods=METHODS[:2] if quick else METHODS,
    )


def forgotten_people(seed: int, folder: Path, *, quick: bool, batch: int = 32) -> Contest:
    """The story on text; the tokenizer is kept in `folder`."""
    from transformers import LlamaForCausalLM

    examples = people.make_people(seed)
    tokenizer = make_tokenizer(examples)
    place = folder / f"tokenizer-{seed}"
    tokenizer.save_pretrained(place)
    names = ("forget", "forget_paraphrase", "retain", "retain_paraphrase", "holdout")
    sets = {name: people.of_split(examples, name) for name in names}
    columns = (
        StoryColumn("forget", "forgotten facts"),
        StoryColumn("forget_paraphrase", "in an unseen phrasing"),
        StoryColumn("two_hop", "over two hops"),
        StoryColumn("second_language", "in the second language"),
        StoryColumn("retain", "facts to keep"),
        StoryColumn("retain_paraphrase", "kept, unseen phrasing"),
        StoryColumn("mia", "loss attack (AUC)"),
    )
    return Contest(
        "people forgotten",
        PEOPLE,
        columns,
        Texts(sets, tokenizer),
        fresh=partial(seeded, lambda: LlamaForCausalLM(make_config(tokenizer))),
        train=sets["retain"] + sets["forget"],
        sets={name: sets[name] for name in ("forget", "retain", "holdout")},
        training={
            "tokenizer": str(place),
            "steps": 260 // (SHORTER if quick else 1),
            "batch_size": batch,
            "learning_rate": 4e-3,
        },
        options={"tokenizer": str(place), "budget": 240 // (SHORTER if quick else 1), "batch_size": batch},
        methods=METHODS[:2] if quick else METHODS,
    )


def tell(*, quick: bool, seed: int, note: Callable[[str], None], seeds: int = 1) -> Iterator[Story]:
    """All stories, one after the other.

    Args:
        quick: a fraction of the steps and two methods: shows the path.
        seed: the first one.
        note: is told what is going on.
        seeds: repetitions of each story.
    """
    numbers = range(seed, seed + seeds)
    yield hold(wrong_labels(seed, quick=quick), numbers, note)
    yield hold(removed_class(seed, quick=quick), numbers, note)
    with tempfile.TemporaryDirectory(prefix="ofmu-demo-") as folder:
        yield hold(forgotten_people(seed, Path(folder), quick=quick), numbers, note)
