"""Attacks on a finished run: the same to the unlearned, the original and the retrained model, then compared."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ofmu.data.images import Transform
from ofmu.engine.processes import Processes, processes
from ofmu.errors import InputError, RunError
from ofmu.evaluation import attacks as catalogue
from ofmu.evaluation.attack import Attacked, Compared, Findings, ModelAttack, Target
from ofmu.evaluation.attacks.relearning import step_size
from ofmu.evaluation.records import Records
from ofmu.evaluation.scoring import score
from ofmu.models.adapters import merge
from ofmu.models.loaded import Loaded
from ofmu.models.scale import spectral_scale
from ofmu.runs import manifest
from ofmu.runs.attack_folder import AttackFolder, as_json, key_of
from ofmu.runs.attacked_run import AttackedRun, read_run
from ofmu.runs.brought_back import draw_attacks
from ofmu.runs.directory import write_json
from ofmu.runs.inputs import Sets, read_model, read_sets
from ofmu.runs.listener import Listener, Silent
from ofmu.runs.measuring import reported
from ofmu.runs.relearn import teach

PLAIN = "plain"
"""No attack: what every model does as it is."""

DEFAULT_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Attacks:
    """What came of it.

    Args:
        path: the folder.
        findings: attacks.json.
        manifest: manifest.json.
        notes: what a user must know, a line each.
    """

    path: Path
    findings: dict[str, Any]
    manifest: dict[str, Any]
    notes: tuple[str, ...] = ()


def attack(
    run: str | os.PathLike[str],
    names: Sequence[str | ModelAttack] = (),
    output: str | os.PathLike[str] | None = None,
    *,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    device: str | None = None,
    batch_size: int | None = None,
    listener: Listener | None = None,
    transform: Transform | None = None,
) -> Attacks:
    """Attack the models of a finished run, and write what came back beside it; the run itself is never touched.

    Args:
        run: folder of a finished ``unlearn`` or ``evaluate``.
        names: attacks, by name or with options (``Relearning(steps=16)``); left out, all that the data allow but
            sampling, which takes long.
        output: folder; ``RUN-attacks`` if left out. Attacks that it holds are not done again, new ones are added.
        seeds: of what is drawn, one repetition of relearning each.
        device: where to compute; left out, as the run did.
        batch_size: examples of one forward pass; left out, the run's.
        listener: is told how it goes.
        transform: of images, in the place of the model's own processor.

    Returns:
        The findings.

    Raises:
        InputError: run, names or folder cannot be used; nothing was written.
        RunError: it failed on its way; the same call goes on.
    """
    found = read_run(run)
    asked = _instances(names)
    place = Path(output) if output is not None else found.path.with_name(f"{found.path.resolve().name}-attacks")
    folder = AttackFolder(place, found.path)
    before = {name: catalogue.find(name)(**_options(options)) for name, options in folder.check().items()}
    if not seeds or min(seeds) < 0:
        raise InputError("seeds must be one or more whole numbers >= 0")
    precision = found.config.precision
    with processes(device=device or found.config.device, precision=precision, parallel="auto") as ranks:
        if ranks.world > 1:
            raise InputError("ofmu attack runs in one process; start it without torchrun")
        try:
            underway = _Underway(found, folder, ranks, tuple(seeds), batch_size, listener or Silent(), transform)
            return underway.go(asked, before)
        except OSError as error:
            raise RunError(f"{error.filename or place}: {(error.strerror or str(error)).lower()}") from error


def _instances(names: Sequence[str | ModelAttack]) -> dict[str, ModelAttack]:
    """Name → attack, as asked for."""
    made: dict[str, ModelAttack] = {}
    for each in names:
        one = each if isinstance(each, ModelAttack) else catalogue.find(each)()
        made[each if isinstance(each, str) else catalogue.name_of(one)] = one
    return made


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


@dataclass
class _Underway:
    """One call of :func:`attack` under way."""

    run: AttackedRun
    folder: AttackFolder
    ranks: Processes
    seeds: tuple[int, ...]
    batch_size: int | None
    listener: Listener
    transform: Transform | None
    models: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # attack → why it was not made
    rates: tuple[float, int] = (0.0, 0)  # scale and parameters: one step size for all

    def go(self, asked: dict[str, ModelAttack], before: dict[str, ModelAttack]) -> Attacks:
        """Everything, in order."""
        started = time.perf_counter()
        torch.manual_seed(self.run.config.seed)
        self.listener.note("reading model and data")
        loaded = self._load("unlearned")
        sets = read_sets(self.run.config, loaded, transform=self.transform)
        self._check_data(sets)
        attacks = self._fitting(asked or _all(), before, loaded, sets, named=bool(asked))
        self.rates = self._rates(loaded)
        self.folder.begin({name: catalogue.options(each) for name, each in attacks.items()}, self.seeds)
        done = self._attack_all(attacks, loaded, sets, named=set(asked))
        plain = Records(removed_classes=sets.removed_labels)
        for role, each in done.pop(PLAIN).items():
            for name, record in each.records[PLAIN].items():
                plain.add(role, name, record)
        compared = Compared(plain, sets.half_by_id())
        findings = {name: attacks[name].compare(each, compared) for name, each in done.items()}
        return self._finish(attacks, findings, sets, time.perf_counter() - started)

    def _load(self, role: str) -> Loaded:
        """A model of the run, its adapter merged: attacks see the model that is used."""
        loaded = read_model(self.run.sources[role], self.run.config)
        if role == "unlearned" and self.run.unlearned not in (None, loaded.fingerprint):
            raise InputError(f"{loaded.name} has changed since the run in {self.run.path} ended; see ofmu verify")
        self.models[role] = loaded.fingerprint
        loaded = merge(loaded)
        loaded.model.to(self.ranks.device).eval()
        return loaded

    def _rates(self, unlearned: Loaded) -> tuple[float, int]:
        """Scale and parameters of the original model, so that all that was unlearned from it is attacked alike.

        Without an original model, of the unlearned one.
        """
        source = self.run.sources.get("original")
        model = unlearned.model if source is None else merge(read_model(source, self.run.config)).model
        return spectral_scale(model), sum(p.numel() for p in model.parameters())

    def _check_data(self, sets: Sets) -> None:
        """The examples are those of the run."""
        changed = [
            name for name, each in sets.encoded.items() if self.run.inputs.get(name) not in (None, each.fingerprint)
        ]
        if changed:
            raise InputError(f"the {' and '.join(changed)} set has changed since the run in {self.run.path} ended")

    def _fitting(
        self,
        asked: Mapping[str, ModelAttack],
        before: Mapping[str, ModelAttack],
        loaded: Loaded,
        sets: Sets,
        *,
        named: bool,
    ) -> dict[str, ModelAttack]:
        """Attacks that the data allow, those that the folder holds already first."""
        fitting = dict(before)
        for name, each in asked.items():
            other = each.modality not in ("any", loaded.modality)
            kind = {"text": "language models", "image": "image classifiers"}
            reason = f"it is for {kind.get(each.modality)}" if other else each.impossible(sets.examples)
            if reason is None:
                fitting[name] = each
            elif named:
                raise InputError(f"attack '{name}' cannot be done here: {reason}")
            else:
                self.left_out[name] = reason
        return fitting

    def _attack_all(
        self, attacks: Mapping[str, ModelAttack], loaded: Loaded, sets: Sets, *, named: set[str]
    ) -> dict[str, dict[str, Attacked]]:
        """Attack → role → what it did; one model in memory at a time.

        An attack that a model turns out not to allow is left out, unless it was asked for by name.
        """
        done: dict[str, dict[str, Attacked]] = {name: {} for name in (PLAIN, *attacks)}
        current: Loaded | None = loaded
        for role in self.run.sources:
            current = current if role == "unlearned" else self._load(role)
            assert current is not None
            target = self._target(role, current, sets)
            for name in list(done):
                if name != PLAIN and role.split("-")[0] not in attacks[name].roles:
                    continue
                try:
                    done[name][role] = self._attacked(name, attacks.get(name), target, sets)
                except InputError as error:
                    if name in named or name == PLAIN:
                        raise
                    self.left_out[name] = str(error)
                    del done[name]
            current = None
        return done

    def _attacked(self, name: str, one: ModelAttack | None, target: Target, sets: Sets) -> Attacked:
        """What the folder holds already, or the attack itself; ``one`` is None for the model as it is."""
        key = self._key(name, one, target.role, sets)
        there = self.folder.read(name, target.role, key)
        if there is None:
            self.listener.note(f"{target.role} model: {'as it is' if one is None else name}")
            made = self._plain(target, sets) if one is None else one.run(target)
            there = self.folder.write(name, target.role, key, made)
        return there

    def _key(self, name: str, one: ModelAttack | None, role: str, sets: Sets) -> str:
        return key_of(
            attack=name,
            options={} if one is None else catalogue.options(one),
            seeds=list(self.seeds) if one is not None else [],
            model=self.models[role],
            scale=self.rates,
            sets={name: each.fingerprint for name, each in sets.encoded.items()},
            seed=self.run.config.seed,
        )

    def _target(self, role: str, loaded: Loaded, sets: Sets) -> Target:
        config, scale = self.run.config, self.rates
        batch_size = self.batch_size or config.batch_size
        autocast = self.ranks.autocast if self.ranks.precision == "bf16" else nullcontext

        def measured(encoded: Any) -> Any:
            with autocast():
                return score(
                    loaded.model,
                    encoded,
                    batch_size=batch_size,
                    device=self.ranks.device,
                    fingerprint=loaded.fingerprint,
                )

        steer, report = _halves(sets, "steer", config.seed), _halves(sets, "report", config.seed)
        return Target(
            role=role,
            model=loaded.model,
            modality=loaded.modality,
            examples=sets.examples,
            sets=sets.encoded,
            steer=steer,
            report=report,
            encode=sets.encode,
            score=measured,
            teach=partial(teach, autocast=autocast),
            learning_rate=lambda rate: step_size(rate, *scale),
            seeds=self.seeds,
            removed=tuple(sets.removed_labels),
            device=self.ranks.device,
            batch_size=batch_size,
            tokenizer=loaded.tokenizer,
            context=loaded.context,
            autocast=autocast,
        )

    def _plain(self, target: Target, sets: Sets) -> Attacked:
        chosen = {name: each for name, each in reported(sets, self.run.config.seed).items() if "-" not in name}
        return Attacked(records={PLAIN: {name: target.score(each) for name, each in chosen.items() if len(each.ids)}})

    def _finish(
        self,
        attacks: Mapping[str, ModelAttack],
        findings: Mapping[str, Findings],
        sets: Sets,
        seconds: float,
    ) -> Attacks:
        notes = [*sets.notes, *_missing(self.run.sources)]
        result = {
            "run": self.run.path.resolve().name,
            "models": dict(self.models),
            "sets": {name: each.fingerprint for name, each in sets.encoded.items()},
            "seeds": list(self.seeds),
            "scale": self.rates[0],
            "attacks": {
                name: {"options": catalogue.options(attacks[name]), **dataclasses.asdict(found)}
                for name, found in findings.items()
            },
            "left_out": dict(self.left_out),
            "notes": notes,
        }
        result = as_json(result)
        write_json(self.folder.result, result)
        facts = {
            "command": "attack",
            "ended": "all attacks were made and compared",
            "models": dict(self.models),
            "seeds": list(self.seeds),
            "seconds": round(seconds, 3),
            "peak_memory_mb": manifest.peak_memory_mb(),
            "environment": manifest.environment(str(self.ranks.device)),
            "notes": notes,
        }
        draw_attacks(self.folder.directory, result, facts)
        written = manifest.write(self.folder.directory, facts)
        return Attacks(self.folder.path, result, written, tuple(notes))


def _all() -> dict[str, ModelAttack]:
    kinds = {name: catalogue.find(name) for name in catalogue.names()}
    return {name: kind() for name, kind in kinds.items() if kind.default}


def _halves(sets: Sets, half: Any, seed: int) -> dict[str, list[int]]:
    """Set → positions of a half; the forget set, which is dealt like the others, only here."""
    forget = sets.encoded["forget"]
    found = {name: sets.half(name, half, seed=seed) for name in sets.halves}
    whole = len(set(forget.clusters)) < 2
    found["forget"] = [i for i, name in enumerate(forget.clusters) if whole or sets.dealt[name] == half]
    return found


def _missing(sources: Mapping[str, Any]) -> list[str]:
    notes = []
    if not any(role.startswith("retrained") for role in sources):
        notes.append("no retrained model: nothing can be compared with retraining, which relearns too")
    if "original" not in sources:
        notes.append("no original model: how much of it came back is not known")
    return notes
