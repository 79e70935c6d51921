"""Recipes of ai-edge-quantizer, an entry an operator."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager
from ai_edge_quantizer.qtyping import QuantGranularity

CHANNEL, TENSOR = QuantGranularity.CHANNELWISE, QuantGranularity.TENSORWISE
BLOCKS = {
    32: QuantGranularity.BLOCKWISE_32,
    64: QuantGranularity.BLOCKWISE_64,
    128: QuantGranularity.BLOCKWISE_128,
    256: QuantGranularity.BLOCKWISE_256,
}
Config: TypeAlias = Any
"""An ``OpQuantizationConfig`` of ai-edge-quantizer."""

# The quantizer's names, where they are not the schema's.
_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}


def static(
    *, activation_bits: int, symmetric: bool, granularity: QuantGranularity = CHANNEL, weight_bits: int = 8
) -> Config:
    """Weights and activations in integers of so many bits, those of activations with ranges known beforehand."""
    return qtyping.OpQuantizationConfig(
        activation_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=activation_bits, symmetric=symmetric or activation_bits == 16
        ),
        weight_tensor_config=_weights(weight_bits, granularity),
        compute_precision=qtyping.ComputePrecision.INTEGER,
    )


def dynamic(bits: int, granularity: QuantGranularity = CHANNEL) -> Config:
    """Weights in integers; the kernel quantizes activations at run time."""
    return qtyping.OpQuantizationConfig(
        weight_tensor_config=_weights(bits, granularity), compute_precision=qtyping.ComputePrecision.INTEGER
    )


def expanded(bits: int, granularity: QuantGranularity = CHANNEL) -> Config:
    """Weights in integers, expanded to float before use."""
    return qtyping.OpQuantizationConfig(
        weight_tensor_config=_weights(bits, granularity),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )


class Recipe:
    """Collects what is done to single operators; what is not named stays in float."""

    def __init__(self) -> None:
        self._manager = recipe_manager.RecipeManager()

    def add(self, kind: str, scope: str, config: Config) -> None:
        """Has an operator quantized, of a kind that ``allows`` it; ``scope`` as ``litert_graph.scope`` gives it."""
        name = _name(kind)
        assert name is not None
        self._manager.add_quantization_config(f"^{re.escape(scope)}$", name, config)

    def get_quantization_recipe(self) -> Any:
        """As ``quantizer.Quantizer`` loads it."""
        return self._manager.get_quantization_recipe()


def allows(kind: str, config: Config) -> bool:
    """Whether ai-edge-quantizer can do that to operators of a kind."""
    name = _name(kind)
    if name is None:
        return False
    try:
        algorithm_manager.check_op_quantization_config(
            algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT, name, config
        )
    except ValueError:  # it knows the operator not at all, or not so
        return False
    return True


def _name(kind: str) -> qtyping.TFLOperationName | None:
    try:
        return qtyping.TFLOperationName(_NAMES.get(kind, kind))
    except ValueError:
        return None


def _weights(bits: int, granularity: QuantGranularity) -> qtyping.TensorQuantizationConfig:
    return qtyping.TensorQuantizationConfig(num_bits=bits, symmetric=True, granularity=granularity)
