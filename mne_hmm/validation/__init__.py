"""How many states there are, and how far a model can be trusted."""
