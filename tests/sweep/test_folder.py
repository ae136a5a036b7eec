from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.artifacts.storage import place_of
from rllib_tactical.errors import TrainingError
from rllib_tactical.sweep.folder import SWEEP, SweepFolder
from rllib_tactical.sweep.spec import parse_sweep

SPEC = parse_sweep(
    {"tactical_sweep": {"samples": 2, "space": {"training.actor_lr": {"choice": [0.1, 0.2]}}}},
    "test",
)
PLAN: dict[str, Any] = {
    "identity": SPEC.identity(),
    "sweep": SPEC.describe(),
    "bar_seconds": 300,
    "parts": [
        {
            "data": {"sha256": "b", "size_from": {"kind": "training_bars"}},
            "instrument": {"symbol": "MINE", "base_quantity": 5.0},
        }
    ],
}


def begun(path: Path) -> SweepFolder:
    folder = SweepFolder(place_of(path))
    folder.begin(PLAN)
    return folder


def test_a_sweep_from_before_the_origin_of_sizes_was_recorded_goes_on(tmp_path: Path) -> None:
    folder = begun(tmp_path / "sweep")
    old = copy.deepcopy(PLAN)
    del old["parts"][0]["data"]["size_from"]
    (tmp_path / "sweep" / SWEEP).write_text(json.dumps(old))
    folder.resume(PLAN)
    assert json.loads((tmp_path / "sweep" / SWEEP).read_text()) == PLAN


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (["identity"], "c", "the sweep file differs"),
        (["bar_seconds"], 60, "the bar length differs"),
        (["parts", 0, "data", "sha256"], "c", "the data or an instrument differs"),
        (["parts", 0, "instrument", "base_quantity"], 6.0, "the data or an instrument differs"),
    ],
)
def test_another_sweep_is_not_continued(
    tmp_path: Path, keys: list[Any], value: object, words: str
) -> None:
    folder = begun(tmp_path / "sweep")
    other: Any = copy.deepcopy(PLAN)
    place = other
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(TrainingError, match=words):
        folder.resume(other)
