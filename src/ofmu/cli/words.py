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
            if not word.startswith("-"):
                found.places.append(word)
            continue
        flag, equals, value = word.partition("=")
        if equals:
            found.values[flag] = value
        elif flag not in switches and opposite(flag) not in switches and rest and not rest[0].startswith("--"):
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
    """Switches as ``--switch=true`` or ``--switch=false``, also those written ``--switch off`` or ``--no-switch``.

    >>> join_switches(["--method.guard", "off", "--lora.no-merge"], ["--method.guard", "--lora.merge"])
    ['--method.guard=false', '--lora.merge=false']
    """
    joined: list[str] = []
    bare = False  # whether the word before is a switch without a value
    for word in words:
        flag, equals, value = word.partition("=")
        if bare and word in ON + OFF:
            joined[-1] = joined[-1].replace("=true", _value(word))
        elif equals and flag in switches and value in ON + OFF:
            joined.append(flag + _value(value))
        elif word in switches and word != "--help":
            joined.append(f"{word}=true")
        elif opposite(word) in switches:
            joined.append(f"{opposite(word)}=false")
        else:
            joined.append(word)
        bare = word in switches
    return joined


def opposite(flag: str) -> str:
    """The flag without its ``no-``; empty if it has none.

    >>> opposite("--no-allow-overlap"), opposite("--lora.no-merge"), opposite("--no-lora.merge"), opposite("--seed")
    ('--allow-overlap', '--lora.merge', '--lora.merge', '')
    """
    if flag.startswith("--no-"):
        return f"--{flag.removeprefix('--no-')}"
    room, dot, name = flag.removeprefix("--").rpartition(".")
    return f"--{room}{dot}{name.removeprefix('no-')}" if name.startswith("no-") else ""


def _value(word: str) -> str:
    return "=true" if word in ON else "=false"
