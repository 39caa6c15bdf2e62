"""From recordings to features, in memory or in a folder."""
