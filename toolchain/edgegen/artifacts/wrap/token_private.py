"""A key in a token where ``cryptography`` wants a private key: it asks one for signatures, and for nothing else.

P-256, and RSA for receivers who want it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.serialization import load_der_public_key

from edgegen.artifacts.keys import Signing
from edgegen.artifacts.wrap.order import Tools
from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from edgegen.core.lazy import load
from edgegen_runtime.public_keys import P256

if TYPE_CHECKING:
    from edgegen.artifacts.token_keys import TokenRsa

_TOKENS = "edgegen.artifacts.token_keys:Tokens"


class _Stays:
    """What a key in a token refuses."""

    _uri: str

    def private_numbers(self) -> NoReturn:
        """Raises BuildError: they do not leave the token."""
        self._refuse()

    def private_bytes(self, encoding: object, format: object, encryption_algorithm: object) -> NoReturn:
        """Raises BuildError: they do not leave the token."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise BuildError("the private key does not leave its token", where=self._uri)

    def _check(self, wanted: object) -> None:
        if not isinstance(wanted, hashes.SHA256):
            raise BuildError("a token signs with SHA-256 here", where=self._uri, got=type(wanted).__name__)


class TokenP256(_Stays, ec.EllipticCurvePrivateKey):
    """A private key on P-256 that stays in its token: no two of its signatures are equal."""

    def __init__(self, signing: Signing, uri: str) -> None:
        self._signing = signing
        self._uri = uri
        public = load_der_public_key(signing.public.der)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        self._public = public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """DER of ECDSA with SHA-256. Raises BuildError if another hash is wanted."""
        self._check(signature_algorithm.algorithm)
        return self._signing.sign(bytes(data))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The half to give away."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        """Raises BuildError: the token is asked to sign alone."""
        self._refuse()

    def __copy__(self) -> TokenP256:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenP256:
        return self


class TokenRsaPrivate(_Stays, rsa.RSAPrivateKey):
    """A private key of RSA that stays in its token."""

    def __init__(self, signing: TokenRsa, uri: str) -> None:
        self._signing = signing
        self._uri = uri
        self._public = rsa.RSAPublicNumbers(signing.exponent, signing.modulus).public_key()

    def sign(self, data: Any, padding: AsymmetricPadding, algorithm: object) -> bytes:
        """PKCS #1 v1.5 with SHA-256.

        Raises:
            BuildError: another padding or hash is wanted.
            ToolMissingError: the token fails, or gives a signature that does not hold.
        """
        self._check(algorithm)
        if not isinstance(padding, PKCS1v15):
            raise BuildError("a token signs with PKCS #1 v1.5 here", where=self._uri, got=padding.name)
        signature = self._signing.sign(bytes(data))
        try:
            self._public.verify(signature, bytes(data), PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise ToolMissingError("the token gave a signature that does not hold", where=self._uri) from error
        return signature

    def public_key(self) -> rsa.RSAPublicKey:
        """The half to give away."""
        return self._public

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def decrypt(self, ciphertext: bytes, padding: AsymmetricPadding) -> NoReturn:
        """Raises BuildError: the token is asked to sign alone."""
        self._refuse()

    def __copy__(self) -> TokenRsaPrivate:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenRsaPrivate:
        return self


@contextmanager
def token_private(uri: str, tools: Tools) -> Iterator[TokenP256 | TokenRsaPrivate]:
    """The key that a URI names, its token open until the block ends.

    Raises:
        UsageError: no such key, or neither on P-256 nor RSA; as ``Tokens.signer`` has it.
        ToolMissingError: as ``Tokens.signer`` has it.
    """

    def pin() -> bytes:
        return tools.passphrase(uri)

    with load(_TOKENS, extra="hsm")() as tokens:
        found = tokens.rsa(uri, pin)
        if found is not None:
            yield TokenRsaPrivate(found, uri)
            return
        signing = tokens.signer(uri, pin)
        if signing.public.kind != P256:
            raise UsageError(
                "this form takes no such key", where=uri, got=signing.public.kind, expected="ECDSA on P-256, or RSA"
            )
        yield TokenP256(signing, uri)
