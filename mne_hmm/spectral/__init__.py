"""Power, coherence, maps and networks of states, from recordings or from the model alone."""
