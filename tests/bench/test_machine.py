from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.bench import machine


def test_facts_name_the_machine_without_names_or_paths_of_its_owner() -> None:
    facts = machine.machine_facts()
    assert facts["cores"] == os.cpu_count()
    assert 0 < float(facts["memory_gb"]) < 100_000
    assert facts["python"] == platform.python_version()
    assert facts["numpy"] == np.__version__
    shown = {"cpu", "cores", "memory_gb", "system", "python"}
    assert set(facts) == shown | {"numpy", "pandas", "gymnasium", "pettingzoo", "ray", "torch"}


def test_the_processor_is_read_from_the_kernel_where_it_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3.00GHz\nmodel name\t: other\n")
    monkeypatch.setattr(machine, "_CPU_INFO", info)
    assert machine.machine_facts()["cpu"] == "Fast CPU @ 3.00GHz"
    info.write_text("processor\t: 0\n")  # as on ARM
    assert machine.machine_facts()["cpu"] == (platform.processor() or platform.machine())
