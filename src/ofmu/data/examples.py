"""What the readers make of every file: texts or images with an identity, a cluster and a content hash.

An *id* names an example within its set, a *cluster* names what belongs together (one person, one document)
and is the same wherever it appears, a *content hash* says whether two examples are the same whatever their
ids.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from ofmu.errors import InputError, unknown

Modality = Literal["text", "image"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; ``role`` is ``system``, ``user``, ``assistant`` or what a template knows."""

    role: str
    content: str

    def as_dict(self) -> dict[str, str]:
        """The form that chat templates take."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class TextExample:
    """A text of which a part is scored.

    Args:
        id: names the example within its set.
        cluster: names what belongs together; the same wherever it appears.
        prompt: what stands before the scored part. Turns of a conversation (a question is one ``user`` turn)
            are written by the model's chat template; a string is put before ``completion`` as it is; None
            means that the whole text is scored.
        completion: the scored part: an answer, a continuation, a whole text.
        extra: every other column, for the evaluation (paraphrases, wrong answers, choices …).
    """

    id: str
    cluster: str
    prompt: str | tuple[Message, ...] | None
    completion: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt_text(self) -> str:
        """The prompt for people: a question's words, turns one a line, "" without a prompt."""
        if self.prompt is None or isinstance(self.prompt, str):
            return self.prompt or ""
        return "\n".join(turn.content for turn in self.prompt)

    def turns(self) -> tuple[str, ...]:
        """Prompt and completion as a flat tuple of strings that tells every form of prompt apart."""
        match self.prompt:
            case None:
                return ("text", self.completion)
            case str(words):
                return ("prompt", words, self.completion)
            case turns:
                return (
                    "turns",
                    *(part for turn in turns for part in (turn.role, turn.content)),
                    self.completion,
                )


@dataclass(frozen=True)
class TextExamples:
    """Texts in the order of their source; ``format`` is a name of :data:`ofmu.data.formats.FORMATS`.

    ``recognised``: what belongs together was no column's word, but guessed from the content.
    """

    examples: tuple[TextExample, ...]
    source: str
    format: str
    recognised: bool = False
    modality: ClassVar[Modality] = "text"

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The examples' ids, in order."""
        return tuple(example.id for example in self.examples)

    @cached_property
    def clusters(self) -> tuple[str, ...]:
        """The examples' clusters, in order."""
        return tuple(example.cluster for example in self.examples)

    def content_hash(self, index: int) -> str:
        """Sha256 of prompt and completion, runs of white space and Unicode composition made equal."""
        turns = (" ".join(unicodedata.normalize("NFC", part).split()) for part in self.examples[index].turns())
        return _digest(turns)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of all ids, clusters, prompts and completions, in order and exactly as they are."""
        return _digest(
            json.dumps([e.id, e.cluster, *e.turns()], ensure_ascii=True, separators=(",", ":")) for e in self.examples
        )

    def take(self, indices: Sequence[int]) -> TextExamples:
        """The examples at these positions, in this order."""
        return replace(self, examples=tuple(self.examples[index] for index in indices))


@dataclass(frozen=True, eq=False)
class ImageExamples:
    """Labelled images in the order of their source.

    Args:
        ids: names within the set.
        clusters: what belongs together; an image is its own cluster unless a column says otherwise.
        pixels: uint8 [n, H, W, C], values 0 … 255; a tuple of n arrays [H, W, C] where the sizes differ;
            float32 [n, H, W, C] where the caller's own Dataset has already prepared them (then used as they
            are).
        labels: int64 [n], ≥ 0.
        class_names: what the labels are called, None where unknown.
        source: where they come from.
        format: ``"images"``.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    pixels: np.ndarray | tuple[np.ndarray, ...]
    labels: np.ndarray
    class_names: tuple[str, ...] | None
    source: str
    format: str = "images"
    modality: ClassVar[Modality] = "image"

    def __len__(self) -> int:
        return len(self.ids)

    def content_hash(self, index: int) -> str:
        """Sha256 of the pixels and the label: the same image under another label is another example."""
        return pixel_hash(self.pixels[index], int(self.labels[index]))

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of all ids, clusters, pixels and labels, in order."""
        rows = zip(self.ids, self.clusters, strict=True)
        return _digest(json.dumps([*row, self.content_hash(index)]) for index, row in enumerate(rows))

    def take(self, indices: Sequence[int]) -> ImageExamples:
        """The images at these positions, in this order."""
        where = np.asarray(indices, dtype=np.int64)
        pixels = self.pixels[where] if isinstance(self.pixels, np.ndarray) else tuple(self.pixels[i] for i in where)
        return replace(
            self,
            ids=tuple(self.ids[i] for i in where),
            clusters=tuple(self.clusters[i] for i in where),
            pixels=pixels,
            labels=self.labels[where],
        )

    def with_classes(self, names: Sequence[str]) -> ImageExamples:
        """The same images with labels counted in another list of class names.

        A folder per class numbers its classes by the folders that it has; a forget folder that holds one
        class would call it 0. The names are what two sets have in common.

        Raises:
            InputError: for a class name that is not in the list.
        """
        if self.class_names is None or tuple(names) == self.class_names:
            return self
        place = {name: number for number, name in enumerate(names)}
        for label in np.unique(self.labels):
            if self.class_names[label] not in place:
                raise InputError(f"{self.source}: {unknown('class', self.class_names[label], names)}")
        table = np.array([place.get(name, -1) for name in self.class_names], dtype=np.int64)
        return replace(self, labels=table[self.labels], class_names=tuple(names))


Examples = TextExamples | ImageExamples


def pixel_hash(pixels: np.ndarray, label: int | None = None) -> str:
    """Sha256 of an image's type, shape and values, and of its label if one is given."""
    digest = hashlib.sha256(f"{pixels.dtype}{pixels.shape}{label}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))  # so that ("ab", "c") and ("a", "bc") differ
        digest.update(raw)
    return digest.hexdigest()
