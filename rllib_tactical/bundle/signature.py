"""Ed25519 signatures of bundles: who vouches for one, as a small file beside its folder.

A bundle's id covers all of its files, so the id is what is signed. The private key stays with
whoever promotes; a service needs the public keys only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rllib_tactical.artifacts.atomic import atomic_write_bytes
from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.errors import BundleError, UnreadableError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SUFFIX: Final = ".sig.json"
"""What is added to the name of a bundle's folder for its signature."""

PUBLIC: Final = ".pub"
"""Suffix of files with a public key."""

_PREFIX: Final = b"tactical bundle 1\n"  # a signature of another kind of text is none of a bundle


@dataclass(frozen=True, slots=True)
class Signature:
    """Of a bundle id; ``key`` is the fingerprint of the public key, 16 hex digits."""

    bundle_id: str
    key: str
    signature: str

    def to_dict(self) -> dict[str, str]:
        """Return plain values."""
        return asdict(self)


def signature_path(bundle: Path) -> Path:
    """Return where the signature of the bundle in a folder is: beside the folder."""
    return bundle.with_name(bundle.name + SUFFIX)


def make_key(path: Path) -> str:
    """Write a new private key (PEM, mode 600) to ``path`` and its public key beside it.

    Returns:
        The fingerprint of the public key.

    Raises:
        UsageError: ``path`` exists: a key is never replaced.
        OSError: the files cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"a key must not replace another, found one in {path}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
    public = key.public_key()
    atomic_write_bytes(
        path.with_name(path.name + PUBLIC),
        public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )
    return fingerprint(public)


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a PEM file.

    Raises:
        UnreadableError: the file cannot be read or holds no Ed25519 private key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise UnreadableError(f"{path}: must hold an Ed25519 private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UnreadableError(f"{path}: must hold an Ed25519 private key, found another kind")
    return key


def read_public_keys(place: Path) -> dict[str, Ed25519PublicKey]:
    """Return the public keys in a file, or in all ``.pub`` files of a folder, by fingerprint.

    Raises:
        UnreadableError: a file cannot be read or holds no Ed25519 public key.
        UsageError: there is none.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    files = sorted(place.glob(f"*{PUBLIC}")) if place.is_dir() else [place]
    keys: dict[str, Ed25519PublicKey] = {}
    for path in files:
        try:
            key = load_pem_public_key(_read(path))
        except ValueError as error:
            raise UnreadableError(f"{path}: must hold an Ed25519 public key: {error}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise UnreadableError(f"{path}: must hold an Ed25519 public key, found another kind")
        keys[fingerprint(key)] = key
    if not keys:
        raise UsageError(f"there must be a public key (*{PUBLIC}), found none in {place}")
    return keys


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the first 16 hex digits of the SHA-256 of a public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def sign(bundle_id: str, key: Ed25519PrivateKey) -> Signature:
    """Return the signature of a bundle id."""
    signed = key.sign(_PREFIX + bundle_id.encode())
    return Signature(bundle_id, fingerprint(key.public_key()), base64.b64encode(signed).decode())


def write_signature(bundle: Path, signature: Signature) -> None:
    """Write the signature of the bundle in a folder beside it.

    Raises:
        OSError: it cannot be written.
    """
    write_object(signature_path(bundle), signature.to_dict())


def verify_signature(bundle: Path, bundle_id: str, keys: Mapping[str, Ed25519PublicKey]) -> str:
    """Return the fingerprint of the key that signed the bundle in a folder.

    Raises:
        BundleError: there is no signature of this bundle, or none by one of the keys.
    """
    from cryptography.exceptions import InvalidSignature

    path = signature_path(bundle)
    if not path.is_file():
        raise BundleError(f"{bundle}: must be signed, found no {path.name}")
    values: dict[str, Any] = read_object(path)
    key = keys.get(str(values.get("key")))
    if key is None:
        raise BundleError(
            f"{bundle}: must be signed by one of {', '.join(sorted(keys))}, found "
            f"{values.get('key')}"
        )
    try:
        signed = base64.b64decode(str(values.get("signature")), validate=True)
        key.verify(signed, _PREFIX + bundle_id.encode())
    except (InvalidSignature, binascii.Error):
        raise BundleError(
            f"{bundle}: the signature is not one of bundle {bundle_id[:12]}"
        ) from None
    return str(values["key"])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror or error}") from error
