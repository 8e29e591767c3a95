"""Everything that a run is given, read and checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from ofmu.data.classes import same_classes
from ofmu.data.examples import ImageExamples, TextExamples
from ofmu.data.formats import read
from ofmu.data.halves import Half, deal, steer_report
from ofmu.data.images import Normalise, Transform, encode_images
from ofmu.data.splits import Examples, check_disjoint, split_by_ids
from ofmu.data.tokens import encode_text
from ofmu.data.views import views
from ofmu.engine.forward import Encoded
from ofmu.errors import InputError
from ofmu.evaluation.records import SETS
from ofmu.evaluation.retain_sample import drawn
from ofmu.models.loaded import Loaded
from ofmu.models.loading import load
from ofmu.runs.config import AUTO

LONGEST = 2048
"""Tokens of an example where neither the user nor the model says less."""

MEASURED = 400
"""Clusters of the retain set that are measured at most, in each half."""


@dataclass(frozen=True)
class Sets:
    """The examples of a run.

    Args:
        examples: set → examples as read: forget, retain, and holdout, test where given.
        encoded: set → what batches are made of.
        halves: set → half of each example, in order; the forget set has none, all of it is trained on.
        removed: (K,) bool, classes that only the forget set has, where these are all of its classes; else None.
        encode: makes batches of further examples, as it made these.
        dealt: cluster → half.
        notes: warnings, a line each.
    """

    examples: dict[str, Examples]
    encoded: dict[str, Encoded]
    halves: dict[str, list[Half]]
    removed: Tensor | None
    encode: Callable[[Examples], Encoded]
    dealt: Mapping[str, Half]
    notes: tuple[str, ...] = ()

    def half(self, name: str, half: Half, *, seed: int) -> list[int]:
        """Positions in a set of the examples of one half, of at most :data:`MEASURED` clusters of it.

        A set too small to be dealt (fewer than two clusters) gives all of its examples to both halves.
        """
        clusters, halves = self.encoded[name].clusters, self.halves[name]
        if len(set(clusters)) < 2:
            return list(range(len(clusters)))
        return drawn(clusters, halves, half, seed=seed, limit=MEASURED)

    @property
    def removed_labels(self) -> list[int]:
        """The classes to remove, as numbers; empty if whole classes are not."""
        return [] if self.removed is None else self.removed.nonzero()[:, 0].tolist()

    def of_removed_classes(self, name: str, *, seed: int) -> list[int]:
        """Positions in a set of unseen images of the removed classes, steering half; empty without the set."""
        found = self.examples.get(name)
        if self.removed is None or not isinstance(found, ImageExamples):
            return []
        removed = self.removed.tolist()
        return [i for i in self.half(name, "steer", seed=seed) if removed[int(found.labels[i])]]

    def steering_ids(self, seed: int) -> dict[str, list[str]]:
        """Set → ids that could steer the run, for the record; no content."""
        return {name: [self.encoded[name].ids[i] for i in self.half(name, "steer", seed=seed)] for name in self.halves}

    def views(self, name: str, ids: Sequence[str]) -> dict[str, Encoded]:
        """``<set>-paraphrased`` and ``<set>-wrong`` of these examples, where the data know any; reporting half only.

        A set too small to be dealt gives all, as in :meth:`half`.
        """
        found = self.examples[name]
        if not isinstance(found, TextExamples):
            return {}
        wanted, whole = set(ids), len(set(self.encoded[name].clusters)) < 2
        rows = [e for e in found.examples if e.id in wanted and (whole or self.dealt.get(e.cluster) == "report")]
        made = views(replace(found, examples=tuple(rows)))
        return {f"{name}-{view}": self.encode(examples) for view, examples in made.items()}

    def half_by_id(self) -> dict[str, dict[str, str]]:
        """Set → id → half, for the sets that could be dealt; of the forget set, its wrong answers alone are."""
        found: dict[str, dict[str, str]] = {
            name: dict(zip(self.encoded[name].ids, halves))
            for name, halves in self.halves.items()
            if len(set(self.encoded[name].clusters)) >= 2
        }
        forget = self.encoded["forget"]
        if len(set(forget.clusters)) >= 2:
            found["forget-wrong"] = {i: self.dealt[cluster] for i, cluster in zip(forget.ids, forget.clusters)}
        return found


def read_sets(config: Any, loaded: Loaded, *, transform: Transform | None = None) -> Sets:
    """Read, check and encode all examples of an unlearning or an evaluation.

    Args:
        config: an :class:`~ofmu.runs.config.Unlearn` or :class:`~ofmu.runs.config.Evaluate`.
        loaded: the model; its tokenizer or image processor is used.
        transform: of images, in the place of the model's processor.

    Raises:
        InputError: in one line.
    """
    examples = same_classes(_read_examples(config), _class_names(loaded))
    for name, found in examples.items():
        if found.modality != loaded.modality:
            raise InputError(f"the {name} set holds {_kind(found)}, but {loaded.name} is {_model_kind(loaded)}")
    shared = _shared(examples, allow=config.allow_overlap)
    encode = encoder(loaded, config.max_length, transform)
    encoded = {name: encode(found) for name, found in examples.items()}
    notes = [note for name, found in encoded.items() for note in _notes(name, found, len(examples[name]))]
    notes += [*shared, *_recognised(examples)]
    others = [name for name in encoded if name != "forget"]
    dealt = deal(*(found.clusters for found in encoded.values()))
    return Sets(
        examples=examples,
        encoded=encoded,
        halves={name: steer_report(encoded[name].clusters, dealt) for name in others},
        removed=_removed_classes(examples, loaded),
        encode=encode,
        dealt=dealt,
        notes=tuple(notes),
    )


def _read_examples(config: Any) -> dict[str, Examples]:
    options = {"format": config.format, "cluster_by": config.cluster_by}
    data, ids = getattr(config, "data", None), getattr(config, "forget_ids", None)
    if (data is None) != (ids is None):
        missing, given = ("--forget-ids", "--data") if ids is None else ("--data", "--forget-ids")
        raise InputError(f"{given} is given without {missing}; both are needed, or --forget and --retain")
    examples: dict[str, Examples] = {}
    if data is not None and ids is not None:
        if config.forget is not None or config.retain is not None:
            raise InputError("give either --data with --forget-ids, or --forget and --retain, not both")
        everything: Any = read(data, name="data", **options)
        examples["forget"], examples["retain"] = split_by_ids(everything, ids)
    else:
        for name in ("forget", "retain"):
            if getattr(config, name) is None:
                raise InputError(f"--{name} is missing (or --data with --forget-ids)")
            examples[name] = read(getattr(config, name), name=name, **options)
    for name in ("holdout", "test"):
        if getattr(config, name) is not None:
            examples[name] = read(getattr(config, name), name=name, **options)
    for given in getattr(config, "abilities", ()):
        name, source = _named(given)
        if name in examples:
            raise InputError(f"abilities: there are two sets of the name '{name}'")
        examples[name] = read(source, name=name, **options)
    return examples


def _shared(examples: Mapping[str, Examples], *, allow: bool) -> list[str]:
    """A note for each two of forget, retain and holdout that share examples.

    Raises:
        InputError: two of them do, unless ``allow``.
    """
    notes = []
    for pair in (("forget", "retain"), ("holdout", "forget"), ("holdout", "retain")):
        if all(name in examples for name in pair):
            count = check_disjoint(examples[pair[0]], examples[pair[1]], names=pair, allow=allow)
            if count:
                notes.append(f"{count} examples are in both the {pair[0]} set and the {pair[1]} set")
    return notes


def _recognised(examples: Mapping[str, Examples]) -> list[str]:
    """A note on the sets of which the clusters were guessed; what intervals rest on is never guessed in silence."""
    names = [name for name, found in examples.items() if isinstance(found, TextExamples) and found.recognised]
    if not names:
        return []
    return [
        f"what belongs together was recognised by content in: {', '.join(names)} (20 rows in a row about one name are "
        "one cluster); --cluster-by COLUMN says it, --cluster-by none makes each example its own"
    ]


def _named(given: Any) -> tuple[str, Any]:
    """An ability as name and source: ``name=place``, or a pair."""
    parts = given.split("=", 1) if isinstance(given, str) else list(given)
    if len(parts) != 2 or not re.fullmatch("[a-z][a-z0-9_]*", str(parts[0])) or parts[0] in (*SETS, "model"):
        raise InputError(
            f"abilities: '{given}' is no NAME=FILE with a name of lower-case letters, digits and _, "
            f"other than {', '.join(SETS)}, model"
        )
    return parts[0], parts[1]


def longest(loaded: Loaded, max_length: int | None) -> int:
    """Longest example in tokens: the model's context, at most :data:`LONGEST`, and what the user allows."""
    return min(loaded.context or LONGEST, max_length or LONGEST)


def encoder(
    loaded: Loaded, max_length: int | None, transform: Transform | None = None
) -> Callable[[Examples], Encoded]:
    """What turns examples into batches for a model."""
    if loaded.modality == "text":
        most = longest(loaded, max_length)
        return lambda found: encode_text(cast(TextExamples, found), loaded.tokenizer, max_length=most)
    processor = loaded.processor
    if transform is None and processor is not None:
        transform = Normalise(processor.mean, processor.std, processor.size) if processor.plain else processor
    return lambda found: encode_images(cast(ImageExamples, found), transform, num_classes=loaded.num_classes)


def _class_names(loaded: Loaded) -> list[str] | None:
    """What the classifier calls its classes, unless these are the placeholders of transformers."""
    named: dict[int, str] = getattr(getattr(loaded.model, "config", None), "id2label", None) or {}
    names = [named[index] for index in sorted(named)]
    return None if not names or all(name.startswith("LABEL_") for name in names) else names


def _removed_classes(examples: Mapping[str, Examples], loaded: Loaded) -> Tensor | None:
    forget, retain = examples["forget"], examples["retain"]
    if not isinstance(forget, ImageExamples) or not isinstance(retain, ImageExamples):
        return None
    gone, kept = set(forget.labels.tolist()), set(retain.labels.tolist())
    if gone & kept:
        return None
    size = loaded.num_classes or max(gone | kept) + 1
    return torch.tensor([label in gone for label in range(size)])


def _notes(name: str, found: Encoded, given: int) -> list[str]:
    notes = []
    if found.cut:
        notes.append(
            f"{len(found.cut)} of {given} {name} examples are longer than the model's context and were cut "
            f"(first: id '{found.cut[0]}')"
        )
    too_long = getattr(found, "too_long", ())
    empty = [name for name in found.dropped if name not in set(too_long)]
    for ids, why in ((empty, "have nothing to score"), (too_long, "have an answer longer than the model's context")):
        if ids:
            notes.append(f"{len(ids)} of {given} {name} examples {why} and were left out (first: id '{ids[0]}')")
    return notes


def _kind(examples: Examples) -> str:
    return "texts" if examples.modality == "text" else "images"


def _model_kind(loaded: Loaded) -> str:
    return "a language model" if loaded.modality == "text" else "an image classifier"


def read_model(source: Any, config: Any, **more: Any) -> Loaded:
    """Read a model with the flags of a configuration.

    Raises:
        InputError: it cannot be read, or holds weights that are not finite.
    """
    loaded = load(
        source,
        tokenizer=more.pop("tokenizer", config.tokenizer),
        trust_remote_code=config.trust_remote_code,
        allow_pickle=config.allow_pickle,
        **more,
    )
    with loaded.handed_back_on_error():
        for name, parameter in loaded.model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise InputError(
                    f"{loaded.name}: the weights {name} are not finite; a run that wrote them had diverged"
                )
    return loaded


def asks_to_retrain(config: Any) -> bool:
    """Whether the retrained models are to be trained first (`--retrained auto`).

    Raises:
        InputError: it is said beside models that are there.
    """
    auto = [isinstance(source, str) and source == AUTO for source in config.retrained]
    if any(auto) and len(auto) > 1:
        raise InputError("--retrained auto stands alone; --retrained-seeds N trains several models")
    return any(auto)


def others(config: Any) -> dict[str, Any]:
    """Role → source of the models to compare with that are there: base, and one role for each retrained model."""
    found: dict[str, Any] = {}
    retrained: Sequence[Any] = () if asks_to_retrain(config) else config.retrained
    for number, source in enumerate(retrained, start=1):
        found["retrained" if number == 1 else f"retrained-{number}"] = source
    if config.base is not None:
        found["base"] = config.base
    if getattr(config, "original", None) is not None:
        found["original"] = config.original
    return found


def check_others(config: Any, loaded: Loaded, sets: Sets) -> None:
    """Make sure, before the work begins, that the models to compare with can be read and be given the same examples.

    Args:
        config: names them.
        loaded: the model they are compared with; they get its tokens.
        sets: the examples.

    Raises:
        InputError: one of them cannot.
    """
    for role, source in others(config).items():
        if not isinstance(source, str):
            continue
        other = read_model(source, config)
        if other.modality != loaded.modality:
            raise InputError(
                f"the {role} model {other.name} is {_model_kind(other)}, but {loaded.name} is {_model_kind(loaded)}"
            )
        if other.tokenizer is not None and _tokens(other, sets) != _tokens(loaded, sets):
            raise InputError(
                f"the {role} model {other.name} has another tokenizer than {loaded.name}; only models that read the "
                "same tokens can be compared"
            )
        if None not in (other.num_classes, loaded.num_classes) and other.num_classes != loaded.num_classes:
            raise InputError(
                f"the {role} model {other.name} knows {other.num_classes} classes, {loaded.name} {loaded.num_classes}"
            )


def _tokens(loaded: Loaded, sets: Sets) -> list[list[int]] | None:
    """The first answers to be forgotten as a model's own tokenizer writes them; None for images."""
    forget = sets.examples["forget"]
    if not isinstance(forget, TextExamples):
        return None
    texts = [example.completion for example in forget.examples[:16]]
    return [list(loaded.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) for text in texts]
