"""States on a recording's own time grid, and how they compare."""
