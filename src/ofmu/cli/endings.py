"""What is said when a run has ended well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofmu.cli.voice import Voice
from ofmu.report.words import count, duration, finite
from ofmu.runs.result import Result


def say_measured(command: str, result: Result, voice: Voice) -> None:
    """The table before / unlearned / retrained, the verdict in words, the cost, and where everything is."""
    from ofmu.report.terminal import print_run

    voice.say()
    print_run(result.metrics, file=voice.words)
    voice.say()
    say_cost(result.manifest, voice)
    say_places(command, result, voice)


def say_cost(manifest: dict[str, Any], voice: Voice) -> None:
    """Gradients and time spent, as far as they are known."""
    parts = [f"{count(manifest['gradients'])} gradients"] if finite(manifest.get("gradients")) is not None else []
    if finite(manifest.get("seconds")) is not None:
        parts.append(duration(manifest["seconds"]))
    if parts:
        voice.say("cost: " + ", ".join(parts))


def say_places(command: str, result: Result, voice: Voice) -> None:
    """Where model and report are; for programs the whole result."""
    model = result.path / "model"
    places: dict[str, Path | None] = {
        "output": result.path,
        "model": model if model.is_dir() else None,
        "report": result.report,
    }
    for name in ("model", "report"):
        if places[name] is not None:
            voice.say(f"{name}: {places[name]}")
    facts = {
        "command": command,
        **{name: None if path is None else str(path) for name, path in places.items()},
        "metrics": result.metrics,
        "manifest": result.manifest,
    }
    voice.result(facts, result.path)
