"""Fewer bits: steps that store or compute with integers and short floats, on exported files and on torch models."""
