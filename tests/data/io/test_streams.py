"""The bytes of a file, whatever they are packed in."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pytest

from rllib_tactical.data.io.streams import HEAD_BYTES, Bytes
from rllib_tactical.errors import UnreadableError

TEXT = "".join(f"row {number}: ä\n" for number in range(9_000))


def plain(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def gzipped(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data))


def zipped(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("folder")
        archive.writestr("folder/bars.csv", data)


def zstandard(path: Path, data: bytes) -> None:
    path.write_bytes(pa.compress(data, "zstd", asbytes=True))


PACKINGS: dict[str | None, Callable[[Path, bytes], None]] = {
    None: plain,
    "gzip": gzipped,
    "zip": zipped,
    "zstd": zstandard,
}


def whole(source: Bytes, skip: int = 0) -> bytes:
    with ExitStack() as stack:
        data: bytes = source.open(stack, skip).read()
        return data


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("packed", PACKINGS)
def test_text_is_unpacked_as_utf_8_again_and_again(
    tmp_path: Path, packed: str | None, encoding: str
) -> None:
    PACKINGS[packed](tmp_path / "bars", TEXT.encode(encoding))
    source = Bytes(tmp_path / "bars")
    assert (source.kind, source.packed) == ("text", packed)
    expected = TEXT.encode()
    assert len(expected) > HEAD_BYTES
    assert source.head.lstrip(b"\xef\xbb\xbf") == expected[: len(source.head)]
    for _ in range(2):
        assert whole(source) == expected
    assert whole(source, 100_000) == expected[100_000:]
    assert source.member == ("folder/bars.csv" if packed == "zip" else "")


def test_the_share_is_that_of_the_packed_file(tmp_path: Path) -> None:
    plain(tmp_path / "bars.csv", TEXT.encode())
    source = Bytes(tmp_path / "bars.csv")
    with ExitStack() as stack:
        stream = source.open(stack)
        stream.read(len(TEXT.encode()) // 2)
        assert source.share() == pytest.approx(0.5, abs=0.1)
        stream.read()
        assert source.share() == 1.0


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.parquet", b"open,high\n", "not a parquet file, as its name says"),
        ("a.csv.gz", b"open,high\n", "not a gzip file, as its name says"),
        ("a.zip", b"open,high\n", "not a zip file, as its name says"),
        ("a.csv.gz", gzip.compress(b"a" * 999, mtime=0)[:20], "damaged gzip file"),
        ("a.csv.zip", b"PK\x03\x04 cut off", "damaged zip file"),
    ],
)
def test_names_that_promise_and_damaged_files(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadableError, match=message):
        whole(Bytes(tmp_path / name))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (("a.csv", "b.csv"), "the zip must hold one file, found 2"),
        ((), "the zip must hold one file, found 0"),
        (("xl/workbook.xml", "b.xml"), "a spreadsheet: save it as CSV"),
    ],
)
def test_a_zip_holds_one_file(tmp_path: Path, members: tuple[str, ...], message: str) -> None:
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("folder")
        for member in members:
            archive.writestr(member, "x")
    with pytest.raises(UnreadableError, match=message):
        Bytes(path)


def test_what_is_no_file_is_refused_with_its_reason(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "missing.csv", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(UnreadableError, match=message):
            Bytes(path)
