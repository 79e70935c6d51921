"""Transports that data and devices share."""
