"""What a run has spent: gradients, and forward passes apart from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Meter:
    """Counts examples that went through a gradient or a forward pass.

    One gradient is the gradient of one loss on one requested batch; a part of a batch counts by its share of the
    examples. Forward passes (references, levels, checks) cost a third of a gradient each and are shown apart.

    Args:
        batch_size: examples of one requested batch.
    """

    batch_size: int
    gradient_examples: int = 0
    forward_examples: int = 0
    extra_gradients: float = 0.0

    @property
    def gradients(self) -> float:
        """Gradients spent so far, in requested batches."""
        return self.gradient_examples / self.batch_size + self.extra_gradients

    @property
    def forwards(self) -> float:
        """Forward passes spent so far, in requested batches."""
        return self.forward_examples / self.batch_size

    def state_dict(self) -> dict[str, float]:
        """The counts, for a checkpoint."""
        return {
            "gradient_examples": self.gradient_examples,
            "forward_examples": self.forward_examples,
            "extra_gradients": self.extra_gradients,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on counting from a checkpoint."""
        self.gradient_examples = int(state["gradient_examples"])
        self.forward_examples = int(state["forward_examples"])
        self.extra_gradients = state["extra_gradients"]
