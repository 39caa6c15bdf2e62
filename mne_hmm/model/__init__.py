"""The model: training, inference, and its files."""
