from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.reporting.mlflow_registry import BUNDLE_ID, CHAMPION, model_name
from rllib_tactical.reporting.mlflow_store import MlflowStore
from tests.lifecycle.conftest import child_of

pytestmark = pytest.mark.slow


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.run([*map(str, arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_a_bundle_is_added_promoted_rolled_back_and_verified(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = child_of(bundle, tmp_path / "child", 2)
    where = ("--registry", tmp_path / "registry")
    key = tmp_path / "key"
    assert call(capsys, "registry", "keygen", key)[0] == 0
    metrics = tmp_path / "kpis.json"
    metrics.write_text('{"net_pnl": 5.0}')
    for path, more in ((bundle.path, ()), (child.path, ("--metrics", metrics, "--why", "newer"))):
        code, out, err = call(
            capsys, "registry", "add", path, *where, "--key", key, "--by", "ann", *more
        )
        assert code == 0, err
    assert out.strip() == child.bundle_id
    for each in (bundle, child):
        code, out, err = call(
            capsys, "promote", each.bundle_id[:8], *where, "--why", "it earns", "--by", "ann"
        )
        assert code == 0, err
    assert f"promoted {child.bundle_id[:12]}, was {bundle.bundle_id[:12]}, by ann: it earns" in out
    code, out, _ = call(capsys, "registry", "list", *where, "--json")
    rows = json.loads(out)
    assert [row["chosen"] for row in rows] == [False, True]
    assert rows[1]["metrics"]["kpis"] == {"net_pnl": 5.0}
    code, out, _ = call(capsys, "rollback", "TEST", *where, "--why", "it lost")
    assert code == 0
    assert f"rolled back to {bundle.bundle_id[:12]}" in out
    code, out, _ = call(capsys, "registry", "show", child.bundle_id[:6], *where)
    assert f"{child.bundle_id[:12]} <- {bundle.bundle_id[:12]}" in out
    code, out, _ = call(capsys, "registry", "list", *where)
    assert "newer" in out.replace("\n", " ")
    code, out, _ = call(capsys, "registry", "verify", *where, "--keys", f"{key}.pub")
    assert code == 0
    assert "2 bundles and 3 promotions are what was written" in out
    (tmp_path / "registry" / "promotions.jsonl").write_text('{"number": 1}\n')
    code, out, _ = call(capsys, "registry", "verify", *where)
    assert code == 1
    assert "is not what was written" in out


def test_a_service_that_cannot_be_reached_leaves_the_registry_as_it_was(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--registry", tmp_path / "registry")
    call(capsys, "registry", "add", bundle.path, *where)
    code, _, err = call(
        capsys, "promote", bundle.bundle_id[:8], *where, "--why", "w", "--url", "http://127.0.0.1:9"
    )
    assert code == 1
    assert "cannot" in err or "refused" in err
    assert not (tmp_path / "registry" / "promotions.jsonl").exists()


def test_promotions_are_mirrored_in_mlflow(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    uri, where = f"sqlite:///{tmp_path / 'mlflow.db'}", ("--registry", tmp_path / "registry")
    call(capsys, "registry", "add", bundle.path, *where)
    code, _, err = call(
        capsys, "promote", bundle.bundle_id[:8], *where, "--why", "it earns", "--mlflow", uri
    )
    assert code == 0, err
    champion = MlflowStore(uri).client.get_model_version_by_alias(model_name("TEST"), CHAMPION)
    assert (champion.tags[BUNDLE_ID], champion.tags["why"]) == (bundle.bundle_id, "it earns")


def test_a_store_that_cannot_be_opened_leaves_the_registry_as_it_was(
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("mlflow", "mlflow.tracking", "mlflow.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    where = ("--registry", tmp_path / "registry")
    call(capsys, "registry", "add", bundle.path, *where)
    more = ("--why", "w", "--mlflow", "sqlite:///x.db")
    code, _, err = call(capsys, "promote", bundle.bundle_id[:8], *where, *more)
    assert (code, "needs a package that is not installed" in err) == (1, True)
    assert not (tmp_path / "registry" / "promotions.jsonl").exists()
