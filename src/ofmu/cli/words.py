"""What the words on a command line say, as far as it must be known before they can be parsed.

The options of ``ofmu unlearn`` depend on the method, and the method may stand anywhere among the words, in the file
after ``--config`` or in the run after ``--resume``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ON, OFF = ("on", "true", "yes"), ("off", "false", "no")


@dataclass
class Words:
    """A first reading of a command's words.

    Args:
        places: the words that belong to no flag.
        values: flag → the word after it (the last one, if given several times).
    """

    places: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


def read(words: Sequence[str], switches: Collection[str]) -> Words:
    """Tell flags, their values and other words apart.

    Args:
        words: what follows the command.
        switches: flags that take no value; all others take one.
    """
    found = Words()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            found.places.append(word)
            continue
        flag, equals, value = word.partition("=")
        if equals:
            found.values[flag] = value
        elif flag not in switches and rest and not rest[0].startswith("--"):
            found.values[flag] = rest.pop(0)
    return found


def spell_out_resume(words: Sequence[str], known: Collection[str]) -> list[str]:
    """``--resume RUN`` as ``--resume --output RUN``; a word that is a method's name and no folder stays METHOD.

    >>> spell_out_resume(["--resume", "runs/1"], ["npo"])
    ['--resume', '--output', 'runs/1']
    >>> spell_out_resume(["--resume", "npo", "--output", "runs/1"], ["npo"])
    ['--resume', 'npo', '--output', 'runs/1']
    """
    spelt: list[str] = []
    for word in words:
        is_run = bool(spelt) and spelt[-1] == "--resume" and not word.startswith("-")
        if is_run and (word not in known or Path(word).is_dir()):
            spelt.append("--output")
        if word.startswith("--resume="):
            spelt += ["--resume", "--output", word.removeprefix("--resume=")]
        else:
            spelt.append(word)
    return spelt


def join_switches(words: Sequence[str], switches: Collection[str]) -> list[str]:
    """``--switch off`` as ``--switch=false``: a switch may be given its value as any other flag.

    >>> join_switches(["--method.guard", "off"], ["--method.guard"])
    ['--method.guard=false']
    """
    joined: list[str] = []
    for word in words:
        flag, equals, value = word.partition("=")
        if equals and flag in switches and value in ON + OFF:
            joined.append(f"{flag}={_spelt(value)}")
        elif joined and joined[-1] in switches and word in ON + OFF:
            joined[-1] = f"{joined[-1]}={_spelt(word)}"
        else:
            joined.append(word)
    return joined


def _spelt(word: str) -> str:
    return "true" if word in ON else "false"
