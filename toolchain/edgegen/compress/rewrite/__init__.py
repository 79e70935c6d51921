"""Exact rewrites of exported graphs: other operators, the same values."""
