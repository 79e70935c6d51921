"""Rewrite, quantize, prune, distill: steps, each declaring the form it works on."""
