"""What a run is made of: one dataclass a command, the same in Python, in YAML and as flags.

No torch is imported here, so that the command line can be read and explained without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ofmu.ranges import Range


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters: train a few small matrices instead of the model."""

    rank: Annotated[int, Range(ge=1)] | None = None
    """Rank of the adapters; left out, the whole model is trained."""
    alpha: Annotated[float, Range(gt=0)] | None = None
    """Scale of the adapters; twice the rank if left out."""
    targets: tuple[str, ...] | None = None
    """Names of the layers to adapt; all linear layers but the head if left out."""
    merge: bool = False
    """Save the whole model with the adapters merged in, instead of the adapters."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """What all commands that train share."""

    seed: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Seed of everything drawn."""
    batch_size: Annotated[int, Range(ge=1)] = 16
    """Examples of one step, over all processes."""
    micro_batch_size: Annotated[int, Range(ge=1)] | None = None
    """Examples of one forward pass; left out, the largest that fits (gradients are accumulated)."""
    learning_rate: Annotated[float, Range(gt=0)] | None = None
    """Peak step size; left out, a share of the model's own scale."""
    max_length: Annotated[int, Range(ge=8)] | None = None
    """Longest example in tokens; left out, the model's context, at most 2,048."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes under autocast; parameters stay in float32."""
    device: Literal["cpu", "cuda", "mps"] | None = None
    """Where to compute; left out, the best there is."""
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several processes (torchrun) share the work: copies, or sharded parameters."""
    gradient_checkpointing: bool = False
    """Trade time for memory: recompute activations in the backward pass."""
    lora: Lora = field(default_factory=Lora)
    """Adapters instead of the whole model."""
    tokenizer: Any = None
    """Tokenizer: a directory, a hub name, or one in memory; left out, the model's own."""
    format: str | None = None
    """Format of the data; left out, told by its columns."""
    cluster_by: str | None = None
    """Column that says which examples belong together (one person, one document); none: each is its own."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Off: such models are refused."""
    allow_pickle: bool = False
    """Read pickled weights, which can run code. Off: only safetensors are read."""
    checkpoint_every: Annotated[float, Range(gt=0)] = 120.0
    """Seconds between checkpoints."""
    checkpoint_steps: Annotated[int, Range(ge=1)] | None = None
    """Steps between checkpoints, in the place of seconds."""
    log_to: Literal["tensorboard", "trackio", "wandb"] | None = None
    """A tracker that also gets the history."""
    show_examples: bool = False
    """Let texts and images of the data appear in records and report."""


AUTO = "auto"
"""In the place of a retrained model: train one."""


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """How the models are made that `--retrained auto` asks for."""

    recipe: Any = None
    """Finished run of `ofmu finetune` whose settings `--retrained auto` repeats; left out, those of `ofmu finetune`."""
    retrained_seeds: Annotated[int, Range(ge=1, le=100)] = 1
    """Models that `--retrained auto` trains, each with its own seed."""
    cache: str | None = None
    """Folder for what can be used again: retrained models, reference scores; left out, `cache/` in the run."""


@dataclass(frozen=True, kw_only=True)
class Unlearn(Common, Retrain):
    """`ofmu unlearn`."""

    model: Any
    """Model to unlearn from: a directory, a hub name, or a model in memory."""
    forget: Any = None
    """Examples to forget."""
    retain: Any = None
    """Examples to keep."""
    data: Any = None
    """In the place of the two: all examples, of which `forget_ids` are to be forgotten."""
    forget_ids: Any = None
    """File with one id a line: column `id` of `data`, or row numbers from 0."""
    holdout: Any = None
    """Examples of the same kind that the model has never seen: what forgetting ends at."""
    test: Any = None
    """Examples never trained on, for measuring abilities (images)."""
    retrained: tuple[Any, ...] = ()
    """Models trained without the forget set, to compare with; `auto`: trained now, on the retain set alone."""
    base: Any = None
    """The model before any fine-tuning."""
    method: Any = None
    """The method with its options; OFMU if left out."""
    steps: Annotated[int, Range(ge=1)] | None = None
    """Most steps; left out, a guess from the size of the forget set."""
    budget: Annotated[float, Range(gt=0)] | None = None
    """Most gradients (of one loss on one batch) that may be spent; a step under way is finished."""
    retain_sampling: Literal["uniform", "near", "mixed"] = "uniform"
    """Which retain examples are trained on: all alike; those nearest to the forget set only, by the model's hidden
    states; or half of each batch from these and half from the others."""
    near_share: Annotated[float, Range(gt=0, lt=1)] | None = None
    """Share of the retain set that counts as near, a batch at least; left out, a quarter."""
    check_every: Annotated[int, Range(ge=1)] | None = None
    """Steps between looks at the steering examples; left out, a twentieth of the steps."""
    allow_overlap: bool = False
    """Go on although forget, retain or holdout set have examples in common."""
    metrics: tuple[str, ...] = ()
    """Further metrics, each a class in a file of one's own: `my_module:MyMetric`; may be repeated. The built-in ones
    are measured in any case."""
    evaluation: bool = True
    """Measure before and after, and write records, metrics and report; off saves time in sweeps."""


@dataclass(frozen=True, kw_only=True)
class Finetune(Common):
    """`ofmu finetune`."""

    model: Any
    """Model to train: a directory, a hub name, a configuration (random weights), or a model in memory."""
    data: Any
    """Examples to train on."""
    epochs: Annotated[float, Range(gt=0)] = 3.0
    """Passes over the data."""
    steps: Annotated[int, Range(ge=1)] | None = None
    """Steps, in the place of passes."""
    weight_decay: Annotated[float, Range(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""
    max_grad_norm: Annotated[float, Range(gt=0)] = 1.0
    """The gradient is scaled down to this norm if it is longer."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Retrain):
    """`ofmu evaluate`."""

    model: Any = None
    """The unlearned model: a directory, a hub name, or a model in memory."""
    forget: Any = None
    """Examples that were to be forgotten."""
    retain: Any = None
    """Examples that were to be kept."""
    holdout: Any = None
    """Examples of the same kind that the model has never seen."""
    test: Any = None
    """Examples never trained on, for measuring abilities (images)."""
    original: Any = None
    """The model before unlearning."""
    retrained: tuple[Any, ...] = ()
    """Models trained without the forget set; `auto`: trained now, on the retain set alone."""
    base: Any = None
    """The model before any fine-tuning."""
    from_log: Any = None
    """In the place of models and data: an evaluation of the unlearned model that another tool has logged."""
    original_log: Any = None
    """Log of the model before unlearning, beside `from_log`."""
    retrained_log: tuple[Any, ...] = ()
    """Logs of models trained without the forget set, beside `from_log`."""
    metrics: tuple[str, ...] = ()
    """Further metrics, each a class in a file of one's own: `my_module:MyMetric`; may be repeated. The built-in ones
    are measured in any case."""
    abilities: tuple[Any, ...] = ()
    """Further examples that should stay known, each set with a name, e.g. `world_facts=FILE`; may be repeated."""
    generate: bool = False
    """Let the models answer too, for ROUGE and fluency; takes longer."""
    max_new_tokens: Annotated[int, Range(ge=1)] = 200
    """Longest answer in tokens."""
    gradient_norms: bool = False
    """Measure the gradient attack too: a backward pass for each example to forget and of the holdout."""
    batch_size: Annotated[int, Range(ge=1)] = 16
    """Examples of one forward pass."""
    seed: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Seed of what is drawn."""
    max_length: Annotated[int, Range(ge=8)] | None = None
    """Longest example in tokens; left out, the model's context, at most 2,048."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes under autocast."""
    device: Literal["cpu", "cuda", "mps"] | None = None
    """Where to compute; left out, the best there is."""
    tokenizer: Any = None
    """Tokenizer: a directory, a hub name, or one in memory; left out, the model's own."""
    format: str | None = None
    """Format of the data; left out, told by its columns."""
    cluster_by: str | None = None
    """Column that says which examples belong together; none: each is its own."""
    allow_overlap: bool = False
    """Go on although forget, retain or holdout set have examples in common."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""
    allow_pickle: bool = False
    """Read pickled weights."""
    show_examples: bool = False
    """Let texts and images of the data appear in records and report."""
