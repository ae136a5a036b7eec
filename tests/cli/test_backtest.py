from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from rllib_tactical.backtest.report.writer import FILES
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.reporting.mlflow_store import MlflowStore
from rllib_tactical.synthetic import make_market
from tests.market import random_bars
from tests.reporting.test_mlflow_store import runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "bars.csv"
    write_bars(random_bars(1_200, seed=3), path)
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.run(["backtest", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_a_backtest_from_files_to_a_folder(
    bundle: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code, text, err = call(capsys, "--bundle", bundle.path, "--data", data, "--out", out)
    assert code == 0, err
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert "No trades" in text
    assert "does not say which bars" in text.replace("\n", " ")
    config = json.loads((out / "config.json").read_text())
    assert config["bundle_id"] == bundle.bundle_id
    assert config["range"] == {"start": EMBARGO_BARS - 1, "stop": 1_200}
    assert config["data"]["name"] == "bars.csv"
    assert str(data.parent) not in (out / "config.json").read_text()
    kpis = json.loads((out / "kpis.json").read_text())
    assert kpis["kpis"]["trades"] > 0
    assert set(kpis["baselines"]) == {
        "no_trades",
        "buy_and_hold",
        "always_long",
        "random",
        "rule_based",
    }


def test_a_backtest_is_logged_to_mlflow(
    bundle: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    uri, out = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "judged"
    more = ("--no-baselines", "--no-statistics", "--mlflow", uri)
    code, _, err = call(capsys, "--bundle", bundle.path, "--data", data, "--out", out, *more)
    assert code == 0, err
    store = MlflowStore(uri)
    run = runs(store)["judged"]
    kpis = json.loads((out / "kpis.json").read_text())["kpis"]
    assert run.data.metrics["kpis.net_pnl"] == pytest.approx(kpis["net_pnl"])
    assert run.data.params["bundle_id"] == f'"{bundle.bundle_id}"'
    names = {file.path for file in store.client.list_artifacts(run.info.run_id)}
    assert names == {"kpis.json", "report.html"}


def test_what_each_agent_contributes_is_in_console_report_and_metrics(
    bundle: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("--data", data, "--out", out, "--agents", "--no-baselines", "--no-statistics")
    code, text, err = call(capsys, "--bundle", bundle.path, *arguments)
    assert code == 0, err
    assert "what each agent contributes" in text
    kpis = json.loads((out / "kpis.json").read_text())
    values = [each["value"] for each in kpis["agents"]["shapley"].values()]
    assert sum(values) == pytest.approx(kpis["kpis"]["net_pnl"])
    assert "Shapley value" in (out / "report.html").read_text()
    code, text, err = call(capsys, "--policy", "rules", *arguments)
    assert code == 2
    assert "--agents is for --bundle" in err


def test_json_is_all_that_stdout_gets(
    bundle: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--bundle", bundle.path, "--data", data, "--out", tmp_path / "out"]
    code, text, _ = call(
        capsys, *arguments, "--no-baselines", "--json", "--start", "2023-11-16", "--stop",
        "2023-11-17T12:00:00Z",
    )  # fmt: skip
    document = json.loads(text)
    assert code == 0
    assert document["baselines"] == {}
    assert document["first_bar"] == "2023-11-16T04:10:00+00:00"  # bar 359, past the warm-up
    assert document["last_bar"] == "2023-11-17T11:55:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--start", "yesterday"], 2, ["--start", "yesterday"]),
        (["--start", "2023-12-02", "--stop", "2023-12-01"], 2, ["--start must be before --stop"]),
        (["--start", "2030-01-01"], 1, ["no bars to trade", "the data covers"]),
        (["--instrument", "NOTHING"], 2, ["NOTHING"]),
        (["--data", "missing.csv"], 2, ["missing.csv"]),
        (["--bundle", "missing"], 2, ["missing", "no bundle here"]),
    ],
)
def test_errors_are_one_clear_line_and_leave_nothing(
    bundle: Bundle,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: list[str],
) -> None:
    out = tmp_path / "out"
    plain = ["--bundle", bundle.path, "--data", data, "--out", out]
    found, text, err = call(capsys, *plain, *arguments)
    assert found == code
    assert "Traceback" not in err + text
    for word in words:
        assert word in err
    assert not out.exists()


def test_broken_bars_are_refused(
    bundle: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = data.read_text().splitlines()
    lines[500] = lines[500].replace(lines[500].split(",")[1], "-1", 1)
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join(lines))
    code, _, err = call(
        capsys, "--bundle", bundle.path, "--data", broken, "--out", tmp_path / "out"
    )
    assert code == 1
    assert "price" in err
    assert not (tmp_path / "out").exists()


def test_a_tampered_bundle_is_refused(
    bundle: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = tmp_path / "bundle"
    shutil.copytree(bundle.path, copy)
    weights = copy / "actors.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    code, _, err = call(capsys, "--bundle", copy, "--data", data, "--out", tmp_path / "out")
    assert code == 1
    assert "actors.safetensors" in err


def test_an_output_that_is_a_file_is_refused_first(
    bundle: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    code, _, err = call(capsys, "--bundle", bundle.path, "--data", data, "--out", out)
    assert code == 2
    assert "--out must be a folder" in err
    assert out.read_text() == "mine"


def test_a_built_in_policy_on_two_files(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "second.csv"
    second.write_text(data.read_text())
    out = tmp_path / "out"
    code, text, err = call(
        capsys, "--policy", "always-long", "--data", data, "--data", second, "--instrument",
        "SYNTH", "--instrument", "BTCUSDT", "--out", out, "--no-baselines", "--no-statistics",
        "--json",
    )  # fmt: skip
    assert code == 0, err
    document = json.loads(text)
    assert set(document["parts"]) == {"SYNTH", "BTCUSDT"}
    total = sum(part["kpis"]["net_pnl"] for part in document["parts"].values())
    assert document["kpis"]["net_pnl"] == pytest.approx(total)
    assert document["statistics"] is None
    config = json.loads((out / "parts" / "SYNTH" / "config.json").read_text())
    assert config["policy"] == "always-long"
    assert (out / "parts" / "BTCUSDT" / "report.html").is_file()


def test_files_share_places_for_positions(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "second.csv"
    second.write_text(data.read_text())
    out = tmp_path / "out"
    code, text, err = call(
        capsys, "--policy", "always-long", "--data", data, "--data", second, "--instrument",
        "SYNTH", "--instrument", "BTCUSDT", "--out", out, "--no-baselines", "--no-statistics",
        "--positions", 1,
    )  # fmt: skip
    assert code == 0, err
    assert "at most 1 positions open at a time, all 2 files together." in text.replace("\n", " ")
    decisions = pd.read_parquet(out / "parts" / "BTCUSDT" / "decisions.parquet")
    assert (decisions["reason"] == "positions_limit").any()
    assert json.loads((out / "parts" / "BTCUSDT" / "config.json").read_text())["positions"] == 1


def test_the_oracle_joins_a_synthetic_market(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "SYNTH.parquet"
    write_bars(make_market("momentum", 3, 4_000, 1.0).bars, path)
    out = tmp_path / "out"
    code, text, err = call(
        capsys, "--policy", "random", "--market", "momentum", "--data", path, "--out", out
    )
    assert code == 0, err
    kpis = json.loads((out / "kpis.json").read_text())
    oracle = kpis["baselines"]["oracle"]["values"]
    assert oracle["net_pnl"] > 0
    times = kpis["kpis"]["trades"] / oracle["trades"]
    assert kpis["trade_counts"]["times_oracle"] == pytest.approx(times)
    assert f"It trades {times:.1f} times as often as the oracle" in kpis["verdict"]
    assert kpis["statistics"]["outcome"] == "no_edge"
    assert "No evidence of an edge" in text.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bundle", "BUNDLE", "--policy", "rules"], "give --bundle or --policy"),
        ([], "give --bundle or --policy"),
        (["--bundle", "BUNDLE", "--config", "rules.yaml"], "--config is for --policy"),
        (["--policy", "oracle", "--instrument", "SYNTH"], "--policy oracle needs --market"),
        (["--bundle", "BUNDLE", "--data", "TQQQ_5m.csv"], "--instrument is needed"),
        (["--policy", "rules", "--positions", "1", "--instrument", "SYNTH"], "found one"),
        (["--bundle", "BUNDLE", "--agents", "--positions", "1"], "must not be given with"),
        (["--bundle", "BUNDLE", "--trials", "none.csv"], "--trials: none.csv cannot be read"),
    ],
)
def test_requests_that_make_no_sense(
    bundle: Bundle,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    words_of = [str(bundle.path) if word == "BUNDLE" else word for word in arguments]
    if "--data" not in arguments:
        words_of += ["--data", str(data)]
    code, _, err = call(capsys, *words_of, "--out", tmp_path / "out")
    assert code == 2
    assert words in err
    assert not (tmp_path / "out").exists()


def test_a_bundle_is_not_written_into(
    bundle: Bundle, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in bundle.path.iterdir())
    code, _, err = call(capsys, "--bundle", bundle.path, "--data", data, "--out", bundle.path)
    assert code == 2
    assert (
        "--out must be a new or empty folder, or that of an earlier backtest, found actors.onnx"
        in err
    )
    assert sorted(path.name for path in bundle.path.iterdir()) == before
