"""What is learnt of the training part before a model is: fill values, limits, scales; applied alike on a device."""

from edgegen.data.clean.fitting import fit
from edgegen.data.clean.scales import fit_scale

__all__ = ["fit", "fit_scale"]
