"""Published protocols, a file each: data, splits, models, metrics."""
