"""Statement keys behind a URI: PKCS#11 tokens, cloud key services, Vault, by way of securesystemslib.

    hsm:2?label=federation      PKCS#11 key with id 2 on that token; the library's path is in PYKCS11LIB
    awskms:... gcpkms:... azurekms:... hv:...   as securesystemslib documents them

The private half never comes here. securesystemslib and what a scheme needs beside it are installed with the extra
`severable-trust[hsm]`; they are imported when such a key is opened, never before.
"""

from collections.abc import Callable
from typing import Any

from severable_trust.errors import SignatureError, SignerError
from severable_trust.keys import PublicKey, Signer

_P256 = "ecdsa-sha2-nistp256"
_PROBE = b"severable: does this key sign for its public half?"


class UriSigner:
    """A `Signer` over a key that something else holds. Only `open_signer` makes one."""

    __slots__ = ("_public", "_remote", "_uri")

    def __init__(self, uri: str, public: PublicKey, remote: Any) -> None:
        self._uri = uri
        self._public = public
        self._remote = remote

    @property
    def public_key(self) -> PublicKey:
        """The public half of the key."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """A DER ECDSA-SHA256 signature over the message, verified before it is handed out.

        Raises:
            SignerError: the token or service does not sign, or signs with another key.
        """
        try:
            signature = bytes.fromhex(self._remote.sign(message).signature)
        except Exception as error:  # every scheme has errors of its own; this is their one way out
            raise SignerError(f"key {self._uri}: does not sign: {_line(error)}") from error
        try:
            self._public.verify(message, signature)
        except SignatureError as error:
            raise SignerError(f"key {self._uri}: signs with another key than {self._public.key_id[:16]}") from error
        return signature


def open_signer(uri: str, public: PublicKey, secret: Callable[[], str]) -> Signer:
    """The signer behind a URI, once it has shown that it signs for this public key.

    Args:
        uri: a scheme of the table above and what that scheme wants.
        public: the key's public half, known beforehand.
        secret: gives the PIN or pass phrase, when it is asked for.

    Raises:
        SignerError: an unknown scheme, a library that is not installed, no such key, a wrong PIN, or another key.
    """
    try:
        from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, SSlibKey  # noqa: PLC0415  # an extra
        from securesystemslib.signer import Signer as Remote  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise SignerError(f"key {uri}: needs the extra; run `pip install 'severable-trust[hsm]'`") from error
    scheme = uri.partition(":")[0]
    if scheme not in SIGNER_FOR_URI_SCHEME:
        raise SignerError(f"key {uri}: scheme {scheme!r} is none of {', '.join(sorted(SIGNER_FOR_URI_SCHEME))}")
    keyval = {"public": public.pem}
    try:
        remote = Remote.from_priv_key_uri(uri, SSlibKey(public.key_id, "ecdsa", _P256, keyval), lambda _what: secret())
    except Exception as error:  # as above
        raise SignerError(f"key {uri}: cannot be opened: {_line(error)}") from error
    signer = UriSigner(uri, public, remote)
    signer.sign(_PROBE)
    return signer


def _line(error: Exception) -> str:
    """What a foreign error says; many PKCS#11 errors say it in their name alone."""
    return " ".join(str(error).split()) or type(error).__name__
