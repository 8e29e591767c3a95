"""The plan of a run in a few lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofmu.report.words import count, counted, duration, finite, number


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """What will be done and what it will cost; what a plan does not say is left out.

    Args:
        plan: a plan as a dict, its numbers by name.
    """
    lines = [_model(plan)]
    if plan.get("examples"):
        clusters = plan.get("clusters") or {}
        sets = [_set(name, size, clusters.get(name)) for name, size in plan["examples"].items()]
        lines.append("examples: " + ", ".join(sets))
    if plan.get("level"):
        lines.append(f"level of forgetting: {plan['level']}")
    if plan.get("steps") is not None:
        lines.append(_course(plan))
    lines.append(_forecast(plan))
    lines.append(_retraining(plan.get("retraining") or {}))
    return [line for line in lines if line]


def _model(plan: Mapping[str, Any]) -> str:
    trained = plan.get("trained")
    if plan.get("parameters") is None:
        return f"{plan.get('model')}: {plan.get('modality')}"
    size = f"{count(plan['parameters'])} parameters"
    if trained is not None and trained != plan.get("parameters"):
        size += f", {count(trained)} trained"
    method = f"{plan['method']} on " if plan.get("method") else ""
    return f"{method}{plan.get('model')}: {plan.get('modality')}, {size}"


def _set(name: str, size: int, clusters: int | None) -> str:
    together = f" in {counted(clusters, 'cluster')}" if clusters is not None and clusters != size else ""
    return f"{name} {count(size)}{together}"


def _course(plan: Mapping[str, Any]) -> str:
    about = "at most" if plan.get("budget") is None else "about"
    parts = [f"{about} {counted(plan['steps'], 'step')} of {counted(plan['batch_size'], 'example')}"]
    if plan.get("micro_batch_size") != plan.get("batch_size"):
        parts.append(f"{count(plan.get('micro_batch_size'))} at a time")
    parts.append(f"learning rate {number(plan.get('learning_rate'))}")
    if plan.get("budget") is not None:
        parts.append(f"until {count(plan['budget'])} gradients are spent")
    elif finite(plan.get("gradients")) is not None:
        parts.append(f"about {count(plan['gradients'])} gradients")
    return ", ".join(parts)


def _forecast(plan: Mapping[str, Any]) -> str:
    parts = []
    if finite(plan.get("memory_gib")) is not None:
        parts.append(f"{number(plan['memory_gib'])} GiB for parameters and their vectors, activations apart")
    if finite(plan.get("seconds")) is not None:
        parts.append(f"about {duration(plan['seconds'])} for the steps")
    return "forecast: " + ", ".join(parts) if parts else ""


def _retraining(planned: Mapping[str, Any]) -> str:
    if not planned:
        return ""
    models, cached = planned["models"], planned["cached"]
    several = f"{count(models)} models" if models > 1 else "a model"
    there = f"; {count(cached)} of them in the cache" if cached else ""
    return (
        f"retraining: {several} of {count(planned['steps'])} steps on the retain set alone, "
        f"{count(planned['gradients'])} gradients apart from the above{there}"
    )
