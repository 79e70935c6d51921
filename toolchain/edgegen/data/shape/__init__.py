"""From split raw samples to the arrays that a model takes: one file a kind of sample."""
