"""Slow float64 references, written without the package: they must not share a mistake with it."""
