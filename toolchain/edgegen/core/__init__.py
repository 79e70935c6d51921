"""Records, target profiles, budgets, errors, digests and the content-addressed store.

No torch, no click, no subprocess: every other room stands on this one.
"""
