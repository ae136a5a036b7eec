from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rllib_tactical.data.instrument_fields import FIELDS, instrument_yaml
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.domain.types import Instrument


def test_every_field_is_explained() -> None:
    assert list(FIELDS) == [field.name for field in dataclasses.fields(Instrument)]


def test_small_ticks_and_rebates_come_back_as_they_were(tmp_path: Path) -> None:
    tiny = Instrument(
        symbol='A "B": c', tick_size=1e-12, commission_per_lot=-0.5, funding_rate=-1e-4
    )
    path = tmp_path / "tiny.yaml"
    path.write_text(instrument_yaml(tiny))
    assert load_instrument(path) == tiny


def test_the_documentation_explains_every_field(project_root: Path) -> None:
    page = (project_root / "docs" / "howto" / "instruments.md").read_text(encoding="utf-8")
    defaults = {field.name: field.default for field in dataclasses.fields(Instrument)}
    for name, (unit, text) in FIELDS.items():
        default = defaults[name]
        shown = "-" if default is dataclasses.MISSING else json.dumps(default)
        assert f"| `{name}` | {unit} | {shown} | {text} |" in page
