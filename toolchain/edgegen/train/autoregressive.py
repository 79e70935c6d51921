"""Models of sequences, token by token: trained on whole rows by teacher forcing, deployed as one step with its memory.

What the model remembers goes in and comes out of the step, so a device keeps it and the model file holds no state. The
cells and their sources are in ``sequence``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.core.records import setting
from edgegen.train.families import Batch, Draw, Objective, Output, filled
from edgegen.train.sequence_groups import head_length, hidden_widths, sequence_groups

if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor, nn

    from edgegen.core.ports import Tensors
    from edgegen.data.dataset import Form, Part
    from edgegen.train.narrowing import Group

OBJECTIVE = (Objective(betas=(0.9, 0.99)),)
"""Few passes over a text: the second moments must follow within a few hundred steps."""

_ROWS_AT_ONCE = 64  # that are read to find states; a transformer's are large


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoregressiveSettings:
    """What the model consists of."""

    cell: Literal["gru", "transformer"] = setting(
        "transformer", doc="gru: gated recurrent units, a small state; transformer: attention to the last tokens"
    )
    layers: int = setting(2, doc="layers, one behind the other", minimum=1, maximum=32)
    width: int = setting(96, doc="length of the vector that stands for a token", minimum=4, maximum=2048)
    heads: int = setting(4, doc="transformer: attention heads of a layer; they share the width", minimum=1, maximum=64)
    head_length: int | None = setting(
        None,
        doc="transformer: length of a head's vectors; None: width / heads. Pruning takes heads",
        minimum=1,
        maximum=2048,
    )
    hidden: tuple[int, ...] = setting(
        (),
        doc="gru: length of the state; transformer: hidden units of every layer. None: the width, and four widths. "
        "Pruning takes some of them",
        minimum=1,
        maximum=8192,
    )
    dropout: float = setting(0.0, doc="share of the elements left out while training", minimum=0, maximum=0.9)
    vocabulary: int | None = setting(None, doc="number of tokens; taken from the data", minimum=2, maximum=65_536)
    context: int | None = setting(
        None, doc="tokens of a training row, which a transformer looks back on; the data's", minimum=2, maximum=4096
    )

    prefill: int = setting(
        16,
        doc="transformer: tokens of a prompt that a second file reads at once; 0: no such file",
        minimum=0,
        maximum=512,
    )
    reads: Literal["token", "block"] = setting(
        "token", doc="what a step reads; a block is what a build makes of a trained model, and no project's own"
    )

    def __post_init__(self) -> None:
        if self.hidden and len(self.hidden) != (1 if self.cell == "gru" else self.layers):
            raise UsageError(
                "the value of 'model.hidden' is not usable",
                where="[model] hidden",
                got=list(self.hidden),
                expected="one integer" if self.cell == "gru" else f"{self.layers} integers, one a layer",
            )
        if self.cell == "transformer" and self.head_length is None and self.width % self.heads:
            raise UsageError(
                "the heads cannot share the width evenly",
                where="[model] heads",
                got=f"{self.heads} heads for a width of {self.width}",
                expected=f"a divisor of {self.width}",
            )


class _Autoregressive:
    """The Family object: see ``families.Family``. The model is the deployed part: the step shares all weights."""

    settings: type = AutoregressiveSettings
    output: Output = "logits"
    tokens = True

    def complete(self, settings: AutoregressiveSettings, form: Form) -> AutoregressiveSettings:
        """Vocabulary and context are the data's."""
        if form.kind != "tokens":
            raise UsageError(
                "an autoregressive model learns rows of tokens",
                where="[data]",
                got=f"{form.kind} of shape {list(form.shape)}",
                expected="a text, or one column of numbers with [data.text] tokens = 'bins'",
            )
        if settings.reads != "token":
            raise UsageError(
                "the value of 'model.reads' is not usable",
                where="[model] reads",
                got=settings.reads,
                expected="token: a build makes a second file that reads blocks by itself",
                next_step="leave the key out; prefill is the length of a block",
            )
        decided = {"vocabulary": len(form.vocabulary), "context": form.shape[0] - 1}
        return cast(AutoregressiveSettings, filled(settings, form, **decided))

    def build(self, settings: AutoregressiveSettings) -> nn.Module:
        """A ``sequence.Recurrent``, a ``sequence.Transformer`` or a ``sequence_block.BlockTransformer``."""
        from edgegen.train.sequence import Recurrent, Transformer
        from edgegen.train.sequence_block import BlockTransformer

        vocabulary, context = _sizes(settings)
        if settings.cell == "gru":
            return Recurrent(vocabulary, settings.layers, settings.width, hidden_widths(settings)[0], settings.dropout)
        kind = BlockTransformer if block_length(settings) else Transformer
        return kind(
            vocabulary,
            context,
            settings.width,
            settings.heads,
            head_length(settings),
            hidden_widths(settings),
            settings.dropout,
        )

    def objectives(self, settings: AutoregressiveSettings) -> tuple[Objective, ...]:
        """One."""
        return OBJECTIVE

    def loss(
        self,
        model: nn.Module,
        settings: AutoregressiveSettings,
        batch: Batch,
        noise: Generator,
        objective: str = "model",
    ) -> dict[str, Tensor]:
        """The mean cross-entropy of each token after those before it in its row, in nats per token."""
        from torch.nn import functional

        logits = cast(Any, model).whole(batch.x[:, :-1], noise)  # (batch, context, vocabulary)
        return {"loss": functional.cross_entropy(logits.flatten(0, 1), batch.x[:, 1:].flatten())}

    def scores(self, model: nn.Module, x: Tensor) -> Tensor:
        """Scores (batch, tokens, vocabulary) of the token after each of ``x`` (batch, tokens)."""
        found: Tensor = cast(Any, model).whole(x)
        return found

    def deployed(self, model: nn.Module) -> nn.Module:
        """The model itself: its ``forward`` is one step."""
        return model

    def signature(self, settings: AutoregressiveSettings) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """A token and the memory in, scores of the next token and what is new to remember out.

        gru: ``state`` and ``next_state`` (1, layers, hidden). transformer: ``keys`` and ``values`` (1, layers * heads,
        context, length of a head); ``new_keys`` and ``new_values`` without the axis of the context. What reads blocks
        takes ``tokens`` (1, block) and their ``count`` in place of the token, and gives the block's keys and values.
        """
        vocabulary, context = _sizes(settings)
        token = TensorSpec(name="token", dtype="int32", shape=(1, 1))
        logits = TensorSpec(name="logits", dtype="float32", shape=(1, vocabulary))
        if settings.cell == "gru":
            state = (1, settings.layers, hidden_widths(settings)[0])
            return (token, _float("state", *state)), (logits, _float("next_state", *state))
        heads, length = settings.layers * settings.heads, head_length(settings)
        rings = tuple(_float(name, 1, heads, context, length) for name in ("keys", "values"))
        position, count = (TensorSpec(name=name, dtype="int32", shape=(1, 1)) for name in ("position", "count"))
        block = block_length(settings)
        if block:
            tokens = TensorSpec(name="tokens", dtype="int32", shape=(1, block))
            rows = tuple(_float(name, 1, heads, block, length) for name in ("new_keys", "new_values"))
            return (tokens, position, count, *rings), (logits, *rows)
        rows = tuple(_float(name, 1, heads, length) for name in ("new_keys", "new_values"))
        return (token, position, *rings), (logits, *rows)

    def meaning(self, settings: AutoregressiveSettings) -> Mapping[str, str]:
        """How to keep the memory between two steps."""
        token = {"token": "the latest token; the logits are the scores of the next one, softmax gives probabilities"}
        if settings.cell == "gru":
            return {**token, "state": "zeros before the first token, then the step's own output next_state"}
        place = "place position"
        if block_length(settings):
            place = "places position, position + 1, ..."
            token = {
                "tokens": "the next tokens of a prompt; the logits are the scores of the token after the last of them",
                "count": "how many of them there are; what lies behind is read and forgotten",
            }
        ring = f"zeros before the first token; after each step write {{}} into {place} modulo %d of the third axis"
        ring = ring % _sizes(settings)[1]
        return {
            **token,
            "position": "how many tokens came before",
            "keys": ring.format("new_keys"),
            "values": ring.format("new_values"),
        }

    def generation(self, settings: AutoregressiveSettings) -> dict[str, Any]:
        """The same for a program: what ``edgegen_runtime.generate`` goes by.

        ``context``: tokens that the model looks back on; None: all, in a state. ``memory``: each input with the output
        that follows it, ``kept`` as a ``ring`` on the third axis or as a ``whole``.
        """
        told: dict[str, Any] = {"token": "token", "scores": "logits"}
        if settings.cell == "gru":
            memory = [{"input": "state", "output": "next_state", "kept": "whole"}]
            return {**told, "position": None, "context": None, "memory": memory}
        rings = [{"input": name, "output": f"new_{name}", "kept": "ring"} for name in ("keys", "values")]
        return {**told, "position": "position", "context": _sizes(settings)[1], "memory": rings}

    def reading_blocks(self, settings: AutoregressiveSettings) -> AutoregressiveSettings | None:
        """The same model as it reads a prompt, for the second file of a build; None: it has none."""
        return replace(settings, reads="block") if settings.cell == "transformer" and settings.prefill else None

    def groups(self, settings: AutoregressiveSettings) -> tuple[Group, ...]:
        """See ``sequence_groups``."""
        return sequence_groups(settings)

    def begin(self, settings: AutoregressiveSettings) -> dict[str, np.ndarray[Any, Any]]:
        """The step's inputs before the first token, all but the token."""
        import numpy as np

        takes, _ = self.signature(settings)
        return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in takes if spec.name != "token"}

    def remember(
        self, settings: AutoregressiveSettings, inputs: Tensors, outputs: Tensors
    ) -> dict[str, np.ndarray[Any, Any]]:
        """The inputs of the step after the one that took ``inputs`` and gave ``outputs``, all but the token.

        Rings are written in place.
        """
        if settings.cell == "gru":
            return {"state": outputs["next_state"]}
        place = int(inputs["position"][0, 0]) % _sizes(settings)[1]
        for name in ("keys", "values"):
            inputs[name][:, :, place] = outputs[f"new_{name}"]
        return {"position": inputs["position"] + 1, "keys": inputs["keys"], "values": inputs["values"]}

    def draw(
        self, settings: AutoregressiveSettings, samples: int, seed: int, *, part: Part | None = None, model: Any = None
    ) -> Draw:
        """Tokens at random places of the part's rows, each with what the model remembers of its row up to there.

        What reads blocks gets for the same places the blocks that end there, as a prompt is cut into them.

        Raises:
            UsageError: no part, or no model.
        """
        import numpy as np

        if part is None or model is None or not len(part):
            raise UsageError("a step's inputs are drawn from data, with what a trained model remembers of them")
        context = part.x.shape[1] - 1  # of the rows: a model that looks back less far reads the same ones
        drawn = np.random.Generator(np.random.PCG64(seed)).random((samples, 2))
        rows = np.minimum((drawn[:, 0] * len(part)).astype(np.int64), len(part) - 1)
        places = np.minimum((drawn[:, 1] * context).astype(np.int64), context - 1)
        tokens = np.asarray(part.x[rows]).astype(np.int64)  # (samples, context + 1)
        each = np.arange(samples)
        targets = tokens[each, places + 1]
        block = block_length(settings)
        if block:
            inputs, places = _blocks(tokens, places, block)
        else:
            inputs = {"token": tokens[each, places].astype(np.int32)[:, None]}
            if settings.cell == "transformer":
                inputs["position"] = places.astype(np.int32)[:, None]
        chunks = [slice(first, first + _ROWS_AT_ONCE) for first in range(0, samples, _ROWS_AT_ONCE)]
        found = [_memory(settings, model, tokens[chunk, :-1], places[chunk]) for chunk in chunks]
        inputs |= {name: np.concatenate([memory[name] for memory in found]) for name in found[0]}
        return Draw(inputs=inputs, targets=targets)


AUTOREGRESSIVE = _Autoregressive()


def block_length(settings: AutoregressiveSettings) -> int:
    """Tokens that the deployed part reads at once; 0: it reads one a step, without an axis for them."""
    return min(settings.prefill, _sizes(settings)[1]) if settings.reads == "block" else 0


def _blocks(
    tokens: np.ndarray[Any, Any], places: np.ndarray[Any, Any], block: int
) -> tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """The blocks of rows (samples, context + 1) that end at ``places``, and the place of the first token of each."""
    import numpy as np

    first = places // block * block
    at = first[:, None] + np.arange(block)  # (samples, block)
    taken = np.take_along_axis(tokens, np.minimum(at, tokens.shape[1] - 1), axis=1)
    inputs = {
        "tokens": np.where(at <= places[:, None], taken, 0).astype(np.int32),
        "position": first.astype(np.int32)[:, None],
        "count": (places - first + 1).astype(np.int32)[:, None],
    }
    return inputs, first


def _memory(
    settings: AutoregressiveSettings, model: Any, tokens: np.ndarray[Any, Any], places: np.ndarray[Any, Any]
) -> dict[str, np.ndarray[Any, Any]]:
    """What the model remembers before the token at each of ``places`` (samples,) of ``tokens`` (samples, context)."""
    import numpy as np
    import torch

    with torch.no_grad():
        found = {name: array.numpy() for name, array in model.memories(torch.from_numpy(tokens)).items()}
    if settings.cell == "gru":
        return {name: array[np.arange(len(places)), places] for name, array in found.items()}
    # Which token lies in each place of the ring, (samples, context): the latest of those before the step's, if any.
    last = places[:, None] - 1
    held = last - (last - np.arange(_sizes(settings)[1])) % _sizes(settings)[1]
    rings = {}
    for name, array in found.items():  # (samples, layers * heads, tokens, length)
        taken = np.take_along_axis(array, np.maximum(held, 0)[:, None, :, None], axis=2)
        rings[name] = np.where(held[:, None, :, None] >= 0, taken, np.float32(0))
    return rings


def _float(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=shape)


def _sizes(settings: AutoregressiveSettings) -> tuple[int, int]:
    """Vocabulary and context."""
    if settings.vocabulary is None or settings.context is None:
        raise UsageError(
            "'model.vocabulary' and 'model.context' are not known",
            where="[model]",
            next_step="complete the settings from data",
        )
    return settings.vocabulary, settings.context
