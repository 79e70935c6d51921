"""``edgegen speak``: a bundle's model goes on with a text on a microcontroller, and the text streams back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.artifacts.layout import PREPROCESSING
from edgegen.artifacts.parse import strict_json
from edgegen.core.cache import Cache
from edgegen.core.errors import UsageError
from edgegen.core.models import COMPILED
from edgegen.core.ports import Progress
from edgegen.core.targets import TargetProfile, load_target
from edgegen.devices.device import DeviceSettings, Speaks, open_device
from edgegen.pipeline.opened_bundle import Opened, open_bundle

if TYPE_CHECKING:
    from edgegen_runtime.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What is to be written, and how its tokens are chosen."""

    prompt: str
    tokens: int
    seed: int
    temperature: float  # 0: always the likeliest token


class Speech:
    """A text that a device writes. Use as a context manager: it holds the device."""

    def __init__(
        self,
        bundle: Path,
        text: Text,
        *,
        target: str | None = None,
        device: str | None = None,
        project: Path | None = None,
        cache: Cache,
        progress: Progress,
        offline: bool = False,
    ) -> None:
        """Checks the bundle to the last byte and opens the device.

        Args:
            bundle: a build's folder, or the ``bundle/`` inside it.
            target: profile; None: the one that the bundle was built for.
            device: URL; None: the profile's own.
            project: folder whose own profiles are known.

        Raises:
            UsageError: the model is none of text in C, the prompt cannot be read, or the device writes no texts.
            IntegrityError: the bundle does not hold.
            ToolMissingError: the device is not there.
        """
        self._text = text
        self._opened = open_bundle(bundle)
        self._tokenizer, self._prompt = _read(self._opened, text.prompt)
        self._profile: TargetProfile = load_target(target or self._opened.manifest.target, project)
        self._url = device or self._profile.device
        settings = DeviceSettings(cache=cache.root, offline=offline, progress=progress)
        self._device = open_device(self._url, self._profile, settings)
        self._written: list[int] = []
        if not isinstance(self._device, Speaks):
            self._device.close()
            raise UsageError(
                "this device writes no texts by itself",
                where=self._url,
                expected="an emulated microcontroller (qemu:), or one at serial:, rfc2217: or socket:",
            )

    def __enter__(self) -> Speech:
        return self

    def __exit__(self, *_: object) -> None:
        self._device.close()

    def pieces(self) -> Iterator[str]:
        """The prompt and the text behind it, as soon as whole characters of that are there.

        Raises:
            UsageError: a number that is out of range.
            ToolMissingError: the device does not answer, or what it says is damaged.
        """
        from edgegen_runtime.generate_command import streamed

        assert isinstance(self._device, Speaks)
        tokens = self._device.speak(
            self._opened.model,
            self._opened.manifest.runtime,
            self._prompt,
            self._text.tokens,
            seed=self._text.seed,
            temperature=self._text.temperature,
        )
        before = str(self._tokenizer.decode(self._prompt))
        for piece in streamed(self._kept(tokens), self._tokenizer):
            yield before + piece
            before = ""

    def document(self) -> dict[str, Any]:
        """For ``--json``, once ``pieces`` has ended."""
        return {
            "schema_version": 1,
            "exit_code": 0,
            "target": self._profile.name,
            "device": self._url,
            "candidate": self._opened.manifest.candidate,
            "bundle_digest": self._opened.digest,
            "prompt": self._text.prompt,
            "prompt_tokens": self._prompt,
            "seed": self._text.seed,
            "temperature": self._text.temperature,
            "tokens": self._written,
            "text": str(self._tokenizer.decode(self._written)),
        }

    def _kept(self, tokens: Iterator[int]) -> Iterator[int]:
        for token in tokens:
            self._written.append(token)
            yield token


def _read(opened: Opened, prompt: str) -> tuple[Tokenizer, list[int]]:
    """The bundle's tokenizer, and the prompt in its tokens."""
    from edgegen_runtime.errors import InputsError, PreprocessError
    from edgegen_runtime.generate import read_rules
    from edgegen_runtime.generate_command import prompt_tokens, text_tokenizer

    if opened.manifest.format not in COMPILED:
        raise UsageError(
            "the bundle holds no model for a microcontroller",
            where=str(opened.folder),
            got=opened.manifest.format,
            next_step="python -m edgegen_runtime generate FILES --prompt TEXT writes with it",
        )
    contract: Mapping[str, Any] = strict_json(opened.files[PREPROCESSING].read_bytes(), PREPROCESSING)
    try:
        rules, tokenizer = read_rules(contract), text_tokenizer(contract)
        return tokenizer, prompt_tokens(prompt, tokenizer, rules)
    except (PreprocessError, InputsError) as error:
        raise UsageError("the model cannot go on with this text", where=str(opened.folder), got=error) from error
