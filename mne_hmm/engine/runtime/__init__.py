"""What training runs on: TensorFlow, workers, checkpoints and stored features."""
