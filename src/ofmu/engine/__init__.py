"""What every method shares: the task, its batches, losses, gradients, optimisers, step size and stopping."""
