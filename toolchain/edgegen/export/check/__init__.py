"""Preflight rules: what of a model file a target cannot have, or not well, told before anything is built."""
