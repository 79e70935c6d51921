"""The keys that a command line names, opened: files, or keys in a token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.artifacts.token_uri import in_token
from edgegen.cli.passphrase import passphrase_source
from edgegen.core.lazy import load

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signing

_TOKENS = "edgegen.artifacts.token_keys:Tokens"


@contextmanager
def opened(keys: Sequence[str], passphrase_file: Path | None) -> Iterator[list[Signing]]:
    """What signs with each of the keys; tokens are closed when the block ends."""
    with ExitStack() as stack:
        tokens = stack.enter_context(load(_TOKENS, extra="hsm")()) if any(map(in_token, keys)) else None
        signers: list[Signing] = []
        for key in keys:
            if tokens is not None and in_token(key):
                signers.append(tokens.signer(key, passphrase_source(passphrase_file, key)))
            else:
                load_signer = load("edgegen.artifacts.keys:load_signer", extra="trust")
                signers.append(load_signer(Path(key), passphrase_source(passphrase_file, Path(key).name)))
        yield signers
