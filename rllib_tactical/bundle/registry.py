"""The registry: a folder with every bundle, where it came from, and what was promoted by whom.

    bundles/ID/              the bundle
    bundles/ID.sig.json      its signature, if it has one
    records/ID.json          parent, symbol, metrics, who added it and why
    profiles/ID.json         its profile of drift, if it has one
    promotions.jsonl         promotions and rollbacks, each with the hash of the line before

Nothing in it is ever changed or removed; the last line about a symbol says which bundle is chosen.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from rllib_tactical.artifacts.json_file import parse_object, read_object, write_object
from rllib_tactical.bundle.bundle import Bundle, copy_bundle, load_bundle
from rllib_tactical.bundle.signature import (
    Signature,
    read_private_key,
    sign,
    signature_path,
    verify_signature,
    write_signature,
)
from rllib_tactical.errors import DataError, TacticalError, UnreadableError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BUNDLES, RECORDS, PROFILES, PROMOTIONS = "bundles", "records", "profiles", "promotions.jsonl"
GENESIS: Final = "0" * 64
_LOCK: Final = "lock"
_SHORTEST_ID: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A bundle in the registry; ``metrics`` are what was known when it was added."""

    bundle_id: str
    symbol: str
    parent: str | None
    added_at: str
    by: str
    why: str
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A bundle was chosen for its symbol; ``previous`` was before it, None for the first one.

    ``evidence``: what it was chosen for, such as the result of a gate.
    """

    number: int
    at: str
    action: Literal["promote", "rollback"]
    symbol: str
    bundle_id: str
    previous: str | None
    by: str
    why: str
    evidence: dict[str, Any]
    hash: str


class Registry:
    """A registry in a folder, which is made when the first bundle is added.

    Args:
        folder: where it is.
        clock: the time now.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.folder, self._clock = folder, clock

    def add(
        self,
        path: Path,
        *,
        why: str = "",
        by: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        key: Path | None = None,
    ) -> Entry:
        """Copy a bundle into the registry; one that is there already stays as it is.

        Args:
            path: the bundle's folder.
            why: for the record.
            by: who adds it; the user of this process when None.
            metrics: known of it, besides those in its manifest.
            key: file of the private key to sign it with.

        Raises:
            BundleError: the bundle is damaged.
            UnreadableError: there is no bundle, or no key.
            OSError: the registry cannot be written.
        """
        bundle = load_bundle(path)
        signature = None if key is None else sign(bundle.bundle_id, read_private_key(key))
        with self._locked():
            record = self._record(bundle.bundle_id)
            if not record.is_file():
                entry = Entry(
                    bundle_id=bundle.bundle_id,
                    symbol=bundle.instrument.symbol,
                    parent=bundle.manifest["parent"],
                    added_at=self._now(),
                    by=by or user_name(),
                    why=why,
                    metrics={**bundle.manifest["metrics"], **(metrics or {})},
                )
                copy_bundle(path, bundle.bundle_id, self.path(bundle.bundle_id))
                # last of all: a bundle without record was not added to the end
                record.parent.mkdir(parents=True, exist_ok=True)
                write_object(record, asdict(entry))
            if signature is not None:
                write_signature(self.path(bundle.bundle_id), signature)
        return self.entry(bundle.bundle_id)

    def path(self, bundle_id: str) -> Path:
        """Return the folder of a bundle of the registry."""
        return self.folder / BUNDLES / bundle_id

    def profile_path(self, bundle_id: str) -> Path:
        """Return the file for the profile of drift of a bundle."""
        return self.folder / PROFILES / f"{bundle_id}.json"

    def entries(self) -> list[Entry]:
        """Return all bundles in the order in which they were added.

        Raises:
            UnreadableError: a record cannot be read.
        """
        found = [_entry(path) for path in sorted((self.folder / RECORDS).glob("*.json"))]
        return sorted(found, key=lambda entry: (entry.added_at, entry.bundle_id))

    def entry(self, bundle_id: str) -> Entry:
        """Return the bundle whose id begins with ``bundle_id``.

        Raises:
            UsageError: there is none, or there are several.
            UnreadableError: its record cannot be read.
        """
        found = []
        if len(bundle_id) >= _SHORTEST_ID:
            names = sorted(path.stem for path in (self.folder / RECORDS).glob("*.json"))
            found = [name for name in names if name.startswith(bundle_id)]
        if len(found) != 1:
            raise UsageError(
                f"ID must begin the id of one bundle of {self.folder} with at least "
                f"{_SHORTEST_ID} digits, found {len(found)} for {bundle_id!r}"
            )
        return _entry(self._record(found[0]))

    def lineage(self, bundle_id: str) -> list[str]:
        """Return the ids of a bundle and its parents, as far as the registry has them."""
        found, current = [bundle_id], self.entry(bundle_id).parent
        while current is not None and current not in found:
            found.append(current)
            if not self._record(current).is_file():
                break
            current = self.entry(current).parent
        return found

    def promotions(self, symbol: str | None = None) -> list[Promotion]:
        """Return what was chosen, oldest first, of one symbol or of all.

        Raises:
            DataError: a line was changed, removed or repeated.
            UnreadableError: the file cannot be read.
        """
        path = self.folder / PROMOTIONS
        if not path.is_file():
            return []
        found: list[Promotion] = []
        before = GENESIS
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from error
        for number, line in enumerate(lines, 1):
            values = parse_object(line, f"{path}, line {number}")
            if values.get("number") != number or values.get("hash") != _hash(before, values):
                raise DataError(f"{path}: line {number} is not what was written")
            found.append(Promotion(**values))
            before = found[-1].hash
        return [each for each in found if symbol in (None, each.symbol)]

    def chosen(self, symbol: str) -> str | None:
        """Return the id of the bundle that is chosen for a symbol, None before the first."""
        made = self.promotions(symbol)
        return made[-1].bundle_id if made else None

    def promote(
        self,
        bundle_id: str,
        *,
        why: str,
        by: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        apply: Callable[[Path], None] | None = None,
    ) -> Promotion:
        """Choose a bundle for its symbol.

        Args:
            bundle_id: the first digits of its id.
            why: for the record.
            by: who chooses it; the user of this process when None.
            evidence: what it is chosen for.
            apply: has a service change over to the bundle's folder; nothing is recorded when it
                raises.

        Raises:
            UsageError: there is no such bundle, or it is chosen already.
            TacticalError: what ``apply`` raises; the bundle is damaged.
        """
        entry = self.entry(bundle_id)
        return self._choose("promote", entry, why, by, evidence, apply)

    def roll_back(
        self,
        symbol: str,
        *,
        why: str,
        by: str | None = None,
        apply: Callable[[Path], None] | None = None,
        expected: tuple[str, str] | None = None,
    ) -> Promotion:
        """Choose the bundle that was chosen before the present one; again for the one before that.

        Arguments as of ``promote``; ``expected``: ids of the bundle that has to be chosen now, and
        of the one before it.

        Raises:
            UsageError: nothing was chosen before, or not what is expected.
            TacticalError: what ``apply`` raises; the bundle is damaged.
        """
        stack: list[str] = []
        for each in self.promotions(symbol):
            if each.action == "promote":
                stack.append(each.bundle_id)
            else:
                stack.pop()
        if len(stack) < 2:
            raise UsageError(f"there must be an earlier bundle for {symbol}, found none")
        if expected is not None and expected != (stack[-1], stack[-2]):
            went, to = (each[:12] for each in expected)
            raise UsageError(
                f"{symbol} must go back from {stack[-1][:12]} to {stack[-2][:12]}, "
                f"found from {went} to {to}"
            )
        return self._choose("rollback", self.entry(stack[-2]), why, by, None, apply)

    def verify(self, keys: Mapping[str, Ed25519PublicKey] | None = None) -> list[str]:
        """Return what is wrong with the registry, nothing when all is well.

        Args:
            keys: public keys; with them every chosen bundle must be signed by one of them.
        """
        problems = []
        try:
            promotions = self.promotions()
        except TacticalError as error:
            problems.append(str(error))
            promotions = []
        known = {path.stem for path in (self.folder / RECORDS).glob("*.json")}
        for bundle_id in sorted(known):
            try:
                found = load_bundle(self.path(bundle_id)).bundle_id
                if found != bundle_id:
                    problems.append(f"{bundle_id[:12]}: the folder holds bundle {found[:12]}")
                if _entry(self._record(bundle_id)).bundle_id != bundle_id:
                    problems.append(f"{bundle_id[:12]}: the record is of another bundle")
                signed = signature_path(self.path(bundle_id)).is_file()
                chosen = any(each.bundle_id == bundle_id for each in promotions)
                if keys is not None and (signed or chosen):
                    verify_signature(self.path(bundle_id), bundle_id, keys)
            except TacticalError as error:
                problems.append(f"{bundle_id[:12]}: {error}")
        for each in promotions:
            if each.bundle_id not in known:
                problems.append(f"promotion {each.number}: bundle {each.bundle_id[:12]} is missing")
        return problems

    def signature(self, bundle_id: str) -> Signature | None:
        """Return the signature of a bundle, unverified; None without one."""
        path = signature_path(self.path(bundle_id))
        return Signature(**read_object(path)) if path.is_file() else None

    def _choose(
        self,
        action: Literal["promote", "rollback"],
        entry: Entry,
        why: str,
        by: str | None,
        evidence: Mapping[str, Any] | None,
        apply: Callable[[Path], None] | None,
    ) -> Promotion:
        if not why.strip():
            raise UsageError("--why must say why the bundle is chosen, found nothing")
        with self._locked():
            every = self.promotions()
            previous = self.chosen(entry.symbol)
            if previous == entry.bundle_id:
                raise UsageError(f"{entry.bundle_id[:12]} is chosen for {entry.symbol} already")
            self.load(entry.bundle_id)
            if apply is not None:
                apply(self.path(entry.bundle_id).resolve())
            values: dict[str, Any] = {
                "number": len(every) + 1,
                "at": self._now(),
                "action": action,
                "symbol": entry.symbol,
                "bundle_id": entry.bundle_id,
                "previous": previous,
                "by": by or user_name(),
                "why": why,
                "evidence": dict(evidence or {}),
            }
            values["hash"] = _hash(every[-1].hash if every else GENESIS, values)
            with (self.folder / PROMOTIONS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(values, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        return Promotion(**values)

    def load(self, bundle_id: str) -> Bundle:
        """Return a bundle of the registry, verified.

        Raises:
            BundleError: it is damaged, or another one.
            UnreadableError: it cannot be read.
        """
        bundle = load_bundle(self.path(bundle_id))
        if bundle.bundle_id != bundle_id:
            raise UnreadableError(
                f"{bundle.path}: must hold bundle {bundle_id[:12]}, found {bundle.bundle_id[:12]}"
            )
        return bundle

    def _record(self, bundle_id: str) -> Path:
        return self.folder / RECORDS / f"{bundle_id}.json"

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time write."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def registry_of(bundle: Path) -> Registry | None:
    """Return the registry that a bundle's folder is in, None where it is in none."""
    folder = bundle.parent.parent
    record = folder / RECORDS / f"{bundle.name}.json"
    return Registry(folder) if bundle.parent.name == BUNDLES and record.is_file() else None


def user_name() -> str:
    """Return the name of the user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # one without an account, as in a container


def _entry(path: Path) -> Entry:
    try:
        return Entry(**read_object(path))
    except TypeError as error:
        raise UnreadableError(f"{path}: not a record of a bundle: {error}") from error


def _hash(before: str, values: Mapping[str, Any]) -> str:
    """Return the hash of a line: it covers the one before and all values but itself."""
    content = {name: value for name, value in values.items() if name != "hash"}
    text = before + json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
