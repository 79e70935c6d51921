"""Fewer channels, heads and weights."""
