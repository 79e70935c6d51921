"""Where a build is executed: one module a device kind, behind one protocol (``device.py``)."""
