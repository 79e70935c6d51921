"""The training loop and one file a model family."""
