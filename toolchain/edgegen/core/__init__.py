"""Records, target profiles, budgets, errors, digests and the content-addressed store.

No torch, no click, no subprocess: every other room stands on this one.
"""

VERSION = "0.1.0"
"""Of edgegen; here, where every room may read it."""
