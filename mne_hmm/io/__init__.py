"""Any input becomes recordings: signals, channels, good segments, and where they lie in time."""
