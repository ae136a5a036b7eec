"""``tactical decisions``, ``replay`` and ``explain``, as a user calls them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli.main import main
from rllib_tactical.domain.features.table import FeatureTable, compute_features
from rllib_tactical.errors import UsageError
from serve.state.opening import journal_name, open_store
from serve.state.store import Entry
from tests.serve.conftest import request_at, walk
from tests.serve.journal.test_replay import rewritten
from tests.serve.local import Cluster
from tests.serve.writes import accepted, with_service

pytestmark = pytest.mark.slow


@pytest.fixture
def table() -> FeatureTable:
    return compute_features(walk(600, seed=7))


def told(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_decisions_are_listed_replayed_and_explained(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    ids: list[str] = []

    async def work(cluster: Cluster) -> None:
        for t in range(310, 313):
            body = request_at(table, t)
            body["market_context"]["symbol"] = bundle.instrument.symbol
            answer = await accepted(cluster, "/decide", body)
            ids.append(answer["decision_id"])

    with_service(bundle, tmp_path, work, replicas=1)
    where = ("--state", str(tmp_path / "state"))
    lines = told("decisions", *where).splitlines()
    assert sorted(line.split()[1] for line in lines) == sorted(name[:12] for name in ids)
    rows = [json.loads(line) for line in told("decisions", *where, "--json").splitlines()]
    assert {row["decision_id"] for row in rows} == set(ids)
    assert told("decisions", *where, "--to", "2000-01-01") == ""
    out = tmp_path / "out.parquet"
    assert told("decisions", *where, "--parquet", str(out)) == f"3 decisions in {out}\n"
    assert pq.read_table(out).num_rows == 3
    with pytest.raises(UsageError, match="must not be given together"):
        told("decisions", *where, "--json", "--parquet", str(out))

    assert told("replay", *where, "--from", "2000-01-01") == "3 decisions are equal, bit for bit\n"
    text = told("explain", ids[0][:12], *where)
    assert text.startswith(f"decision {ids[0]}\n")
    assert json.loads(told("explain", ids[0], *where, "--json"))["decision_id"] == ids[0]
    picture = tmp_path / "why.html"
    assert told("explain", ids[0], *where, "--picture", str(picture)) == text
    assert f"Decision {ids[0]}" in picture.read_text(encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "jinja2", None)
        patch.delitem(sys.modules, "serve.journal.picture")
        patch.delitem(sys.modules, "rllib_tactical.reporting.html")
        with pytest.raises(UsageError, match=r"--picture needs the extra 'report' \(jinja2"):
            told("explain", ids[0], *where, "--picture", str(picture))
    assert told("state", "verify", *where).splitlines() == [
        "1 records are whole, 0 of them archived",
        "journal: 3 decisions of 1 bundles are whole, 0 of them archived",
    ]

    rewritten(str(tmp_path / "state"), lambda data: data["answer"]["decision"].update(side="?"), 1)
    found = told("replay", *where, code=1)
    assert found.startswith("1 of 3 decisions differ; the first: decision ")
    assert "decision.side was '?', recomputed " in found
    journal = open_store(journal_name(str(tmp_path / "state")))
    journal.append(3, [Entry("decision", b"{}", "x")])
    journal.close()
    found = told("state", "verify", *where, code=1)
    assert "journal: decision record 4 cannot be read" in found
