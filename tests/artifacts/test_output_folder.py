"""Where a command may write: new, empty, its own, and what is of someone else."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib_tactical.artifacts.atomic import atomic_file, atomic_folder
from rllib_tactical.artifacts.output_folder import (
    ReplaceableOutput,
    ResumableOutput,
    require_folder,
    require_output_file,
)
from rllib_tactical.artifacts.run_folder import RUN_OUTPUT
from rllib_tactical.artifacts.storage import Mirror, Place, place_of
from rllib_tactical.backtest.report.writer import BACKTEST_OUTPUT
from rllib_tactical.bundle.bundle import BUNDLE_OUTPUT
from rllib_tactical.cli.demo import DEMO_OUTPUT
from rllib_tactical.errors import UsageError
from rllib_tactical.sweep.folder import SWEEP_OUTPUT
from rllib_tactical.walkforward.study import STUDY_OUTPUT
from tests.s3_server import s3_server, uri

RESUMABLE = (RUN_OUTPUT, SWEEP_OUTPUT, STUDY_OUTPUT)
REPLACEABLE = (BACKTEST_OUTPUT, BUNDLE_OUTPUT, DEMO_OUTPUT)
every = pytest.mark.parametrize("output", RESUMABLE + REPLACEABLE, ids=lambda kind: kind.name)
resumable = pytest.mark.parametrize("output", RESUMABLE, ids=lambda kind: kind.name)
replaceable = pytest.mark.parametrize("output", REPLACEABLE, ids=lambda kind: kind.name)

Output = ResumableOutput | ReplaceableOutput


def written(folder: Path, *names: str) -> Path:
    """Write files into a folder; each says that it is of a backtest."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text('{"kind": "backtest"}')
    return folder


@pytest.fixture(scope="module")
def remote() -> Iterator[Place]:
    with s3_server() as (endpoint, _):
        yield place_of(uri(endpoint, uuid.uuid4().hex))


@every
def test_a_new_and_an_empty_folder_may_be_written_into(output: Output, tmp_path: Path) -> None:
    output.require(tmp_path / "deep" / "new")
    output.require(tmp_path)
    assert not (tmp_path / "deep").exists()


@every
def test_a_folder_of_something_else_is_refused(output: Output, tmp_path: Path) -> None:
    written(tmp_path, "a.txt", "b.txt", "c.txt", "d.txt")
    with pytest.raises(
        UsageError, match=r"--out must be a new or empty folder.*, found a\.txt, b\.txt, c\.txt in "
    ):
        output.require(tmp_path)


@every
def test_a_file_is_refused(output: Output, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(UsageError, match=f"--out must be a folder, found a file: {out}"):
        output.require(out)


@every
def test_what_a_killed_writer_left_is_nothing(
    output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        # the names that writers really use; nothing is cleaned up, as after SIGKILL
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        with atomic_file(tmp_path / "kpis.json"), atomic_folder(tmp_path / "bundle"):
            raise KeyboardInterrupt
    assert len(os.listdir(tmp_path)) == 2
    output.require(tmp_path)


@resumable
def test_an_earlier_one_is_continued_and_never_replaced(
    output: ResumableOutput, tmp_path: Path
) -> None:
    out = written(tmp_path, output.marker, "more")
    output.require(out, resume=True)
    with pytest.raises(
        UsageError, match=rf"holds a {output.name} already: continue it with --resume or name"
    ):
        output.require(out)


@resumable
def test_what_is_not_there_is_not_resumed(output: ResumableOutput, tmp_path: Path) -> None:
    for out in (tmp_path / "none", tmp_path, written(tmp_path / "other", "mine")):
        words = re.escape(f"--resume: there is no {output.name} in {out}")
        with pytest.raises(UsageError, match=words):
            output.require(out, resume=True)


def test_the_same_holds_at_a_uri(remote: Place, tmp_path: Path) -> None:
    RUN_OUTPUT.require(remote / "new")
    with pytest.raises(UsageError, match="--resume: there is no run in s3://"):
        RUN_OUTPUT.require(remote / "new", resume=True)
    Mirror(written(tmp_path / "run", "run.json"), remote / "run").push()
    RUN_OUTPUT.require(remote / "run", resume=True)
    with pytest.raises(UsageError, match="holds a run already"):
        RUN_OUTPUT.require(remote / "run")
    Mirror(written(tmp_path / "other", "x"), remote / "other").push()
    with pytest.raises(UsageError, match="a new or empty folder, found x in s3://"):
        RUN_OUTPUT.require(remote / "other")


@replaceable
def test_an_earlier_one_is_replaced(output: ReplaceableOutput, tmp_path: Path) -> None:
    output.require(written(tmp_path, *output.files))


@replaceable
def test_one_file_of_something_else_beside_it_keeps_it(
    output: ReplaceableOutput, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=rf"of an earlier {output.name}, found mine in"):
        output.require(written(tmp_path, *output.files, "mine"))


@pytest.mark.parametrize("output", [BACKTEST_OUTPUT, BUNDLE_OUTPUT], ids=lambda kind: kind.name)
def test_without_its_marker_it_is_something_else(output: ReplaceableOutput, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an earlier"):
        output.require(written(tmp_path, *(output.files - {output.marker})))


@pytest.mark.parametrize("text", ["{}", '{"kind": "walk"}', "[1]", "{"])
def test_the_marker_of_a_backtest_says_what_it_is(tmp_path: Path, text: str) -> None:
    (written(tmp_path, *BACKTEST_OUTPUT.files) / "config.json").write_text(text)
    with pytest.raises(UsageError, match="an earlier backtest"):
        BACKTEST_OUTPUT.require(tmp_path)


def test_a_folder_of_another_option(tmp_path: Path) -> None:
    require_folder(tmp_path, "--results")
    require_folder(tmp_path / "none", "--results")
    with pytest.raises(UsageError, match="--results must be a folder, found a file"):
        require_folder(written(tmp_path, "f") / "f", "--results")


def test_an_output_file(tmp_path: Path) -> None:
    source = written(tmp_path, "bars.csv") / "bars.csv"
    require_output_file(tmp_path / "new.csv", source)
    require_output_file(source)
    with pytest.raises(UsageError, match=r"x\.csv: there is no folder .*none$"):
        require_output_file(tmp_path / "none" / "x.csv")
    with pytest.raises(UsageError, match="is a folder"):
        require_output_file(tmp_path)
    (tmp_path / "link.csv").symlink_to(source)
    with pytest.raises(UsageError, match="is the input file, which is never changed"):
        require_output_file(tmp_path / "link.csv", source)
