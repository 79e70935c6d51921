"""Quantize, prune, distill: steps, each declaring the form it works on."""
