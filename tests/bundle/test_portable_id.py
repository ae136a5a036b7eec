"""The ONNX graph and the id of a bundle do not depend on the machine that made them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rllib_tactical
from rllib_tactical.bundle import bundle as bundle_module
from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.bundle.networks import Actor, actor_weights
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.types import AGENTS, Float32Array, Instrument

pytestmark = pytest.mark.slow

PACKAGE = Path(rllib_tactical.__file__).parent
EXPORT_AGAIN = """
import sys
from pathlib import Path
import rllib_tactical
from rllib_tactical.bundle.bundle import export_bundle, load_bundle

first, out = map(Path, sys.argv[1:])
bundle = load_bundle(first)
again = export_bundle(
    out,
    weights=bundle.weights,
    rules=bundle.rules,
    instrument=bundle.instrument,
    bar_seconds=bundle.bar_seconds,
    temperature_scale=bundle.temperature_scale,
    training=bundle.manifest["training"],
    metrics=bundle.manifest["metrics"],
)
print(Path(rllib_tactical.__file__).parent)
print(again.manifest["git_commit"])
print(again.bundle_id)
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle made by a program that knows no commit, as one that was installed."""
    weights: dict[str, Float32Array] = {}
    for agent in AGENTS:
        weights |= actor_weights(agent, Actor((0.1,) * 7, 1.2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_module, "git_commit", lambda: None)
        return export_bundle(
            tmp_path_factory.mktemp("exported") / "bundle",
            weights=weights,
            rules=Rules(),
            instrument=Instrument(symbol="TEST", tick_size=0.01, base_quantity=100.0),
            bar_seconds=300,
            temperature_scale=1.0,
            training={},
            metrics={},
        )


def test_the_graph_holds_no_path_and_no_line_of_the_source(exported: Bundle) -> None:
    for text in (str(PACKAGE), str(Path(torch.__file__).parent), 'File "', "rllib_tactical"):
        assert text.encode() not in exported.onnx_model, text


@pytest.mark.slow
def test_the_id_does_not_depend_on_where_the_program_is(exported: Bundle, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(PACKAGE, elsewhere / PACKAGE.name)
    done = subprocess.run(
        [sys.executable, "-c", EXPORT_AGAIN, str(exported.path), str(tmp_path / "again")],
        env=os.environ | {"PYTHONPATH": str(elsewhere), "GIT_CEILING_DIRECTORIES": str(elsewhere)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place, commit, found = done.stdout.splitlines()[-3:]
    assert (place, commit) == (str(elsewhere / PACKAGE.name), "None")
    assert found == exported.bundle_id
