"""Example data and atlases, fetched when they are asked for."""
