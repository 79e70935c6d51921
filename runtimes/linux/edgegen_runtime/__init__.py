"""What runs beside a model on a Linux device: stdlib, numpy and one inference runtime.

This package never imports edgegen: it is copied to boards that have no toolchain.
"""

__version__ = "0.1.0"
