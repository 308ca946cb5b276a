"""Ed25519 keys that seals are signed with. Needs the package cryptography: ``pip install 'rowcall[seal]'``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowcall import errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: What stands before the head of a seal in what is signed, so that a signature can mean nothing else.
PREFIX = b"rowcall-seal-1:"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key.

    :ivar key_id: names its public half.
    """

    key_id: str
    _key: Ed25519PrivateKey

    @classmethod
    def load(cls, file: Path) -> Signer:
        """The key of a file that :func:`generate` made.

        :raises UsageError: if there is none in it.
        """
        serialization = _serialization()
        try:
            key: Any = serialization.load_pem_private_key(file.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise errors.UsageError(
                f"{file} holds no private key ({error}): rowcall audit keygen makes one."
            ) from error
        if not hasattr(key, "sign") or len(_raw_or_empty(key)) != 32:
            raise errors.UsageError(f"{file} holds no Ed25519 key: rowcall audit keygen makes one.")
        return cls(key_id(_raw(key.public_key())), key)

    def sign(self, head: bytes) -> bytes:
        """A signature over a seal's head."""
        return self._key.sign(PREFIX + head)


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key."""

    key_id: str
    _key: Ed25519PublicKey

    @classmethod
    def load(cls, file: Path) -> Verifier:
        """The key of a file that :func:`generate` made.

        :raises UsageError: if there is none in it.
        """
        serialization = _serialization()
        try:
            key: Any = serialization.load_pem_public_key(file.read_bytes())
            raw = _raw(key)
        except (OSError, ValueError, TypeError) as error:
            raise errors.UsageError(
                f"{file} holds no public Ed25519 key ({error}): name the .pub file of rowcall audit keygen."
            ) from error
        if len(raw) != 32:
            raise errors.UsageError(f"{file} holds no public Ed25519 key: name the .pub file of rowcall audit keygen.")
        return cls(key_id(raw), key)

    def accepts(self, head: bytes, signature: bytes) -> bool:
        """Whether a signature is this key's over a seal's head."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, PREFIX + head)
        except InvalidSignature:
            return False
        return True


def generate(file: Path) -> str:
    """Write a new key to a file that only its owner can read, and its public half beside it, ``.pub``; the key's id.

    :raises UsageError: if there is such a file already.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if taken := [str(path) for path in (file, public_file(file)) if path.exists()]:
        raise errors.UsageError(f"{taken[0]} is there already: name another file.")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for path, content, mode in ((file, private, 0o600), (public_file(file), public, 0o644)):
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
                opened.write(content)
        except OSError as error:
            raise errors.UsageError(f"{path} cannot be made ({error.strerror}): name another file.") from error
    return key_id(_raw(key.public_key()))


def public_file(file: Path) -> Path:
    """Where the public half of a key is."""
    return file.with_name(f"{file.name}.pub")


def key_id(raw: bytes) -> str:
    """What a public key is called: the beginning of its hash."""
    return sha256(raw).hexdigest()[:16]


def _raw(key: Any) -> bytes:
    serialization = _serialization()
    return bytes(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def _raw_or_empty(key: Any) -> bytes:
    try:
        return _raw(key.public_key())
    except ValueError:
        return b""


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise errors.UsageError("Keys need the package cryptography: pip install 'rowcall[seal]'.") from error
    return serialization
