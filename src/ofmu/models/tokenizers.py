"""Reading a language model's tokenizer, and checking that it is its own."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import AutoTokenizer, PreTrainedModel

from ofmu.errors import InputError
from ofmu.models.quiet import quiet
from ofmu.models.sources import Source


def read_tokenizer(source: Source) -> Any:
    """The tokenizer saved in a folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    if not source.has_tokenizer():
        raise InputError(f"{source.name} has no tokenizer (tokenizer.json or the like): give one (tokenizer=…)")
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(
                source.path, trust_remote_code=source.trust_remote_code, local_files_only=True
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"cannot read the tokenizer in {source.name}: {first_line(error)}") from error


def check_tokenizer(tokenizer: Any, model: nn.Module, name: str) -> None:
    """Raise if the tokenizer can make a token that the model has no embedding for.

    Raises:
        InputError: says both sizes.
    """
    table = model.get_input_embeddings() if isinstance(model, PreTrainedModel) else None
    if isinstance(table, nn.Embedding) and len(tokenizer) > table.num_embeddings:
        raise InputError(
            f"the tokenizer has {len(tokenizer):,} tokens, the model {name} only {table.num_embeddings:,}: "
            "they do not belong together"
        )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for a one-line message of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
