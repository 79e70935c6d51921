"""What runs beside a model on a Linux device: stdlib, numpy and one inference runtime.

This package never imports edgegen: it is copied to boards that have no toolchain. ``session`` opens and runs models,
``arrays`` reads and writes .npz files, ``python -m edgegen_runtime`` is both as a command.
"""

__version__ = "0.1.0"
