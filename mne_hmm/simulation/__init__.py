"""Recordings with known states."""
