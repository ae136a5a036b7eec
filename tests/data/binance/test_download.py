from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rllib_tactical.data.binance import download
from rllib_tactical.data.binance.download import ATTEMPTS, Downloader, locked_folder
from rllib_tactical.errors import DataError, UnreadableError, UsageError
from tests.data.archive_server import ArchiveServer, Fault, serve_archive

CONTENT = bytes(range(256)) * 2000
NAME = "A/5m/A-5m-2024-01.zip"


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    with serve_archive() as archive:
        archive.put(NAME, CONTENT)
        yield archive


class Fetcher:
    """A downloader that records its waits instead of waiting."""

    def __init__(self, server: ArchiveServer, folder: Path) -> None:
        self.server, self.target = server, folder / "A-5m-2024-01.zip"
        self.part = folder / "A-5m-2024-01.zip.part"
        self.waits: list[float] = []
        self.reports: list[tuple[int, int | None]] = []

    def __call__(self) -> bool:
        # trust_env=False: a proxy of the machine must not be asked for 127.0.0.1.
        with httpx.Client(trust_env=False, timeout=20) as client:
            downloader = Downloader(client, self.waits.append)
            return downloader.fetch(
                f"{self.server.url}/{NAME}",
                self.target,
                lambda done, size: self.reports.append((done, size)),
            )


@pytest.fixture
def fetch(server: ArchiveServer, tmp_path: Path) -> Fetcher:
    return Fetcher(server, tmp_path)


def test_download_then_cache(fetch: Fetcher, server: ArchiveServer) -> None:
    assert fetch() is True
    assert fetch.target.read_bytes() == CONTENT
    assert fetch.reports[-1] == (len(CONTENT), len(CONTENT))
    count = len(server.requests)
    assert fetch() is False
    assert len(server.requests) == count, "a verified file needs no request"
    assert sorted(os.listdir(fetch.target.parent)) == [
        "A-5m-2024-01.zip",
        "A-5m-2024-01.zip.CHECKSUM",
    ]


def test_an_altered_cache_is_downloaded_again(fetch: Fetcher) -> None:
    fetch()
    fetch.target.write_bytes(CONTENT[:-1] + b"x")
    assert fetch() is True
    assert fetch.target.read_bytes() == CONTENT


def test_resume_asks_for_the_rest_only(fetch: Fetcher, server: ArchiveServer) -> None:
    fetch.part.write_bytes(CONTENT[:1000])
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert server.asked(NAME) == ["bytes=1000-"]


def test_a_server_without_ranges_starts_anew(fetch: Fetcher, server: ArchiveServer) -> None:
    server.ranges = False
    fetch.part.write_bytes(CONTENT[:1000])
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert server.asked(NAME) == ["bytes=1000-"]


@pytest.mark.parametrize(
    ("partial", "asked"),
    [
        (CONTENT, []),
        (b"of an older version", ["bytes=19-", ""]),
        (CONTENT + b"more", [f"bytes={len(CONTENT) + 4}-", ""]),
    ],
)
def test_what_a_partial_file_may_be(
    fetch: Fetcher, server: ArchiveServer, partial: bytes, asked: list[str]
) -> None:
    fetch.part.write_bytes(partial)
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert server.asked(NAME) == asked


def test_cut_responses_are_continued(fetch: Fetcher, server: ArchiveServer) -> None:
    server.faults[NAME] = [Fault(cut=100_000), Fault(cut=0), Fault(cut=100_000)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert server.asked(NAME) == ["", "bytes=100000-", "bytes=100000-", "bytes=200000-"]
    assert fetch.waits == [0.5, 1.0, 0.5], "an attempt that brought bytes starts the count anew"


def test_busy_server_is_asked_again(fetch: Fetcher, server: ArchiveServer) -> None:
    server.faults[f"{NAME}.CHECKSUM"] = [Fault(status=503), Fault(status=500)]
    server.faults[NAME] = [Fault(status=429, headers={"Retry-After": "7"}), Fault(status=502)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert fetch.waits == [0.5, 1.0, 7.0, 1.0]


def test_a_server_that_stays_down_ends_it(fetch: Fetcher, server: ArchiveServer) -> None:
    server.faults[NAME] = [Fault(status=503)] * 20
    with pytest.raises(UnreadableError, match=r"no success in 6 attempts, the last.*answered 503"):
        fetch()
    assert len(server.asked(NAME)) == ATTEMPTS
    assert fetch.waits == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_wrong_checksum(fetch: Fetcher, server: ArchiveServer) -> None:
    server.put(NAME, CONTENT, checksum="0" * 64)
    with pytest.raises(DataError, match=r"A-5m-2024-01.zip: the download does not match.*removed"):
        fetch()
    assert os.listdir(fetch.target.parent) == []


@pytest.mark.parametrize("text", [b"", b"<html>", b"0" * 64, b"0" * 64 + b"  other.zip", b"\xff"])
def test_no_checksum(fetch: Fetcher, server: ArchiveServer, text: bytes) -> None:
    server.files[f"{NAME}.CHECKSUM"] = text
    with pytest.raises(DataError, match=r"CHECKSUM: not a SHA-256 of A-5m-2024-01\.zip"):
        fetch()
    assert server.asked(NAME) == []


def test_endless_answers_are_refused(
    fetch: Fetcher, server: ArchiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files[f"{NAME}.CHECKSUM"] = b"x" * 5000
    with pytest.raises(DataError, match="more than 4096 bytes"):
        fetch()
    server.put(NAME, CONTENT)
    monkeypatch.setattr(download, "MAX_FILE_BYTES", 100_000)
    with pytest.raises(DataError, match="larger than"):
        fetch()
    assert os.listdir(fetch.target.parent) == []


@pytest.mark.parametrize(
    ("status", "message"), [(404, "not published"), (403, "refused: 403 Forbidden")]
)
def test_final_answers(fetch: Fetcher, server: ArchiveServer, status: int, message: str) -> None:
    server.faults[f"{NAME}.CHECKSUM"] = [Fault(status=status)]
    with pytest.raises(UnreadableError, match=message):
        fetch()
    assert fetch.waits == []
    assert os.listdir(fetch.target.parent) == []


def test_another_range_than_asked_for(fetch: Fetcher, server: ArchiveServer) -> None:
    server.faults[NAME] = [Fault(status=206, headers={"Content-Range": "bytes 5-9/10"})]
    with pytest.raises(UnreadableError, match="another range"):
        fetch()


def test_endless_redirects(fetch: Fetcher, server: ArchiveServer) -> None:
    away = {"Location": f"/klines/{NAME}"}
    server.faults[NAME] = [Fault(status=302, headers=away)] * 50
    with pytest.raises(UnreadableError, match="redirect"):
        fetch()


def test_no_network(tmp_path: Path) -> None:
    with serve_archive() as gone:
        pass
    fetch = Fetcher(gone, tmp_path)
    with pytest.raises(UnreadableError, match=r"no success in 6 attempts.*refused"):
        fetch()
    assert os.listdir(tmp_path) == []


def test_disk_full(fetch: Fetcher) -> None:
    fetch.part.symlink_to("/dev/full")
    with pytest.raises(UsageError, match=r"cannot write .*A-5m-2024-01.zip: No space left"):
        fetch()
    assert not fetch.target.exists()


def test_one_fetch_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    busy = pytest.raises(UsageError, match="another fetch is using it")
    with locked_folder(folder), busy, locked_folder(folder):
        pass
    with locked_folder(folder):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cache folder"), locked_folder(tmp_path / "file" / "b"):
        pass
