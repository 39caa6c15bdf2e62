"""Expectation-maximization: where it starts, how it moves between optima, and when it ends."""
