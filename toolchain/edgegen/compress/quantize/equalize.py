"""Cross-layer equalization: the arithmetic on plain arrays.

Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, arXiv 1906.04721,
section 4.1, equation 11. Between two layers with nothing but a positively homogeneous function (ReLU), channel i of
the first may be divided by any s_i > 0 if the second multiplies it by s_i; s_i = sqrt(r1_i r2_i) / r2_i makes the
channel's weights in both layers equally large.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def equalizing_scales(first: Array, second: Array) -> Array:
    """s, (channels,): what the first layer's channels are divided by.

    Args:
        first: (channels,) largest absolute weight that makes each channel.
        second: (channels,) largest absolute weight that reads each channel.

    Returns:
        1 for a channel that one of the two layers does not use.
    """
    used = (first > 0) & (second > 0)
    ratio = np.sqrt(np.where(used, first, 1.0) / np.where(used, second, 1.0))
    return np.where(used, ratio, 1.0)
