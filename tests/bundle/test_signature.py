from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from rllib_tactical.bundle.signature import (
    make_key,
    read_private_key,
    read_public_keys,
    sign,
    signature_path,
    verify_signature,
    write_signature,
)
from rllib_tactical.errors import BundleError, UnreadableError, UsageError

ID, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the place of a signed bundle, beside a key."""
    make_key(tmp_path / "key")
    bundle = tmp_path / "bundle"
    write_signature(bundle, sign(ID, read_private_key(tmp_path / "key")))
    return bundle


def test_a_signature_is_of_one_bundle_and_by_one_key(folder: Path) -> None:
    keys = read_public_keys(folder.parent)
    assert verify_signature(folder, ID, keys) in keys
    with pytest.raises(BundleError, match="the signature is not one of bundle bbbbbbbbbbbb"):
        verify_signature(folder, OTHER, keys)
    other = folder.parent / "others"
    other.mkdir()
    make_key(other / "key")
    with pytest.raises(BundleError, match="must be signed by one of"):
        verify_signature(folder, ID, read_public_keys(other))


def test_a_changed_or_missing_signature_is_refused(folder: Path) -> None:
    keys = read_public_keys(folder.parent / "key.pub")
    path = signature_path(folder)
    values = json.loads(path.read_text())
    for wrong in ("not base64", values["signature"][:-4] + "AAA="):
        path.write_text(json.dumps({**values, "signature": wrong}))
        with pytest.raises(BundleError, match="is not one of bundle"):
            verify_signature(folder, ID, keys)
    path.unlink()
    with pytest.raises(BundleError, match=r"must be signed, found no bundle\.sig\.json"):
        verify_signature(folder, ID, keys)


def test_a_private_key_is_its_owners_and_never_replaced(folder: Path) -> None:
    key = folder.parent / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="must not replace another"):
        make_key(key)


def test_files_that_are_no_keys(folder: Path) -> None:
    key, public = folder.parent / "key", folder.parent / "key.pub"
    with pytest.raises(UnreadableError, match="Ed25519 private key"):
        read_private_key(public)
    with pytest.raises(UnreadableError, match="Ed25519 public key"):
        read_public_keys(key)
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_private_key(folder.parent / "none")
    empty = folder.parent / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="there must be a public key"):
        read_public_keys(empty)
