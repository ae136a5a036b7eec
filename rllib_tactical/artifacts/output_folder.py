"""Where a command may write: one set of rules for every output folder and file.

A folder that is missing or empty may be written into. One that holds an earlier output of the same
kind is replaced, or continued with ``--resume`` where the kind can be. Anything else is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rllib_tactical.artifacts.atomic import is_left_over
from rllib_tactical.artifacts.folder_lock import LOCK
from rllib_tactical.artifacts.json_file import read_object
from rllib_tactical.errors import UnreadableError, UsageError

if TYPE_CHECKING:
    from rllib_tactical.artifacts.storage import Place

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumableOutput:
    """A kind of output that is never replaced: a folder with the file ``marker`` holds one."""

    name: str
    marker: str

    def require(self, out: Path | Place, *, resume: bool = False) -> None:
        """Check that an output may begin in ``out``, or go on there.

        Raises:
            UsageError: ``out`` is a file or holds anything; with ``resume``: it holds no such
                output.
        """
        names = _names(out)
        if resume:
            if self.marker not in names:
                raise UsageError(f"--resume: there is no {self.name} in {out}")
        elif self.marker in names:
            raise UsageError(
                f"--out: {out} holds a {self.name} already: continue it with --resume or name "
                "another folder"
            )
        elif names:
            raise _foreign(out, "a new or empty folder", names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceableOutput:
    """A kind of output that is replaced by the next one.

    Attributes:
        name: what messages call it.
        files: names of everything that its folder can hold.
        marker: the one among ``files`` that each has; None: whatever is in ``files`` may be alone.
        marker_kind: what ``marker``, a JSON file, has under the key ``kind``; None: anything.
    """

    name: str
    files: frozenset[str]
    marker: str | None = None
    marker_kind: str | None = None

    def require(self, out: Path) -> None:
        """Check that ``out`` is new, empty or of an earlier output of this kind.

        Raises:
            UsageError: it is a file, or holds anything else.
        """
        names = _names(out)
        foreign = [name for name in names if name not in self.files]
        if foreign or (names and not self._is_marked(out, names)):
            allowed = f"a new or empty folder, or that of an earlier {self.name}"
            raise _foreign(out, allowed, foreign or names)

    def _is_marked(self, out: Path, names: list[str]) -> bool:
        if self.marker is None:
            return True
        return self.marker in names and (
            self.marker_kind is None or _kind_in(out / self.marker) == self.marker_kind
        )


def require_folder(path: Path, option: str = "--out") -> None:
    """Refuse a path at which a file is.

    Raises:
        UsageError: it is a file.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{option} must be a folder, found a file: {path}")


def require_output_file(out: Path, source: Path | None = None) -> None:
    """Refuse an output file that cannot be written, before any work is done.

    Args:
        out: the file.
        source: the input file, which is never changed.

    Raises:
        UsageError: there is no folder for it, it is a folder, or it is ``source``.
    """
    if not out.parent.is_dir():
        raise UsageError(f"output file {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise UsageError(f"output file {out}: is a folder")
    if source is not None and out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"output file {out}: is the input file, which is never changed")


def _names(out: Path | Place) -> list[str]:
    """Return what ``out`` holds, without its lock and what a killed writer has left."""
    if not isinstance(out, Path):
        if not out.is_local:
            return sorted(name for name in out.files_below() if name != LOCK)
        out = out.local
    require_folder(out)
    if not out.exists():
        return []
    return sorted(name for name in os.listdir(out) if name != LOCK and not is_left_over(name))


def _foreign(out: Path | Place, allowed: str, names: list[str]) -> UsageError:
    found = ", ".join(names[:_SHOWN])
    return UsageError(f"--out must be {allowed}, found {found} in {out}: name another folder")


def _kind_in(path: Path) -> Any:
    try:
        return read_object(path).get("kind")
    except UnreadableError:
        return None
