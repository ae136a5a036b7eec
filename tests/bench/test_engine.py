import json

import pytest

from rllib_tactical.bench.engine import EngineSize
from rllib_tactical.cli import bench as command

TINY = EngineSize(
    bars=2_000,
    steps=64,
    accounts=8,
    repetitions=1,
    update=64,
    runners=(1,),
    simulated=3,
    message=64,
    memory=(2, 4),
)


@pytest.mark.ray
def test_the_engine_section_measures_every_row_beside_both_baselines():
    rows = command.run_sections(("engine",), lambda text: None, {"engine": TINY})["engine"]
    assert [row.name for row in rows] == [
        "sampling, 8 accounts, 1 account per bar",
        "sent from runner to learner",
        "training iteration, 1 account per bar",
        "bfloat16 iteration, 1 account per bar",
        "sampling, 8 accounts, 8 per bar",
        "training iteration, 8 per bar",
        "iteration of 64 steps, 8 per bar, two threads",
        "iteration of 64 steps, 8 per bar, 1 env runner, overlap 1",
        "sampling, 1 env runner, 8 per bar",
        "training, 1 env runner, 8 per bar",
        "memory of 1 env runner, 8 per bar",
        "learnt alone, 3 simulated env runners",
        "offered and learnt, 3 simulated env runners",
        "message of a step, 3 simulated env runners",
        "memory at iteration 2",
        "memory grown from iteration 2 to 4",
    ]
    assert all(row.measurement.median > 0 for row in rows[:-1])
    for row in rows[:6]:
        for other in row.baselines:
            assert other.measurement is not None
            assert other.measurement.median > 0
    assert [(b.name, b.target_ratio) for b in rows[6].baselines] == [("one thread", 1.45)]
    assert [b.name for b in rows[7].baselines] == ["overlap 0"]
    wanted = {b.name: b.target_ratio for b in rows[0].baselines}
    assert wanted == {"RLlib, stock": 3.0, "NumPy and PyTorch by hand": 0.9}
    document = command.as_document({"engine": rows})
    json.dumps(document)
    first = document["sections"]["engine"][0]["baselines"][0]
    assert first["met"] == (first["ratio"] >= 3.0)
