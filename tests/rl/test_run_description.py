"""What a run folder says of a run, and what may differ when it is resumed."""

import copy
import dataclasses
import json
from typing import Any

import pytest

from rllib_tactical.config.loader import content_hash, to_dict
from rllib_tactical.config.training import StopConfig, ValidationConfig
from rllib_tactical.errors import ConfigError, TrainingError
from rllib_tactical.rl.run_description import check_resume, cpus_of, run_description
from tests.rl.small import small_config


@pytest.fixture(scope="module")
def described(prepared):
    return run_description(prepared, small_config())


def resumed(described, prepared, **changes):
    check_resume(described, run_description(prepared, small_config(**changes)))


def test_workers_are_counted_without_the_driver():
    def cpus(instruments=1, **changes):
        return cpus_of(small_config(**changes), instruments)

    assert cpus() == 0
    assert cpus(num_env_runners=4, num_learners=2) == 6
    assert cpus(validation=ValidationConfig(workers=2)) == 1  # one instrument, one worker
    assert cpus(instruments=4, num_env_runners=1, validation=ValidationConfig(workers=2)) == 3


def test_a_run_is_described_by_plain_values(described, prepared, bars):
    assert json.loads(json.dumps(described)) == described | {
        "standardisation": {
            name: list(values) for name, values in described["standardisation"].items()
        },
        "config": json.loads(json.dumps(described["config"])),
    }
    config = small_config()
    assert described["config"] == to_dict(config)
    assert described["config_hash"] == content_hash(config)
    assert (described["format"], described["bar_seconds"]) == (1, 300)
    assert described["warm_start"] is None
    (part,) = described["parts"]
    assert part["data"]["name"] == bars.path.name
    assert part["instrument"]["symbol"] == "SYNTH"
    assert part["instrument"]["base_quantity"] == prepared.parts[0].history.instrument.base_quantity
    assert described["standardisation"]["mean"] == prepared.standardization.mean
    assert "ray" in described["versions"]


def test_a_known_warm_start_is_not_read_again(prepared):
    warm = dataclasses.replace(small_config().training.warm_start, path="gone")
    known = {"name": "gone", "weights_sha256": "ab"}
    found = run_description(prepared, small_config(warm_start=warm), known)
    assert found["warm_start"] == known


def test_a_run_may_go_on_longer_and_on_another_machine(described, prepared):
    resumed(described, prepared)
    resumed(
        described,
        prepared,
        iterations=99,
        num_env_runners=4,
        num_learners=2,
        checkpoint_every=7,
        checkpoint_episodes=5,
        keep_checkpoints=3,
        validation=ValidationConfig(every=3),
        stop=StopConfig(patience=4),
        record_rollouts=True,
    )


@pytest.mark.parametrize("changes", [{"gamma": 0.5}, {"seed": 1}, {"num_envs": 16}])
def test_other_settings_are_refused_by_name_and_both_values(described, prepared, changes):
    ((name, value),) = changes.items()
    before = getattr(small_config().training, name)
    expected = rf"--resume: training\.{name} is {value}, the run was started with {before}"
    with pytest.raises(TrainingError, match=expected):
        resumed(described, prepared, **changes)


def of_part(part: str, **changes: Any) -> Any:
    def change(run: dict[str, Any]) -> None:
        run["parts"][0][part] |= changes

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda run: run["parts"].append(run["parts"][0]), "started with 2 files, found 1"),
        (of_part("data", sha256="ab" * 32), r"is not the file .*, the run has abababababab"),
        (of_part("data", synergies="events.csv"), "--synergies differs"),
        (of_part("instrument", base_quantity=7.0), "the instrument differs from the run's"),
        (lambda run: run.update(warm_start={"name": "other"}), "the warm start differs"),
    ],
)
def test_another_market_or_start_is_refused(described, prepared, change, expected):
    before = copy.deepcopy(described)
    change(before)
    with pytest.raises(TrainingError, match=expected):
        resumed(before, prepared)


def test_settings_and_fields_that_came_later_had_their_defaults(described, prepared):
    before = copy.deepcopy(described)
    del before["config"]["training"]["trace"]
    del before["parts"][0]["instrument"]["lot_step"]
    resumed(before, prepared)
    with pytest.raises(TrainingError, match=r"training\.trace is 'episode'"):
        resumed(before, prepared, trace="episode")


def test_a_setting_that_is_gone_names_another_version(described, prepared):
    before = copy.deepcopy(described)
    before["config"]["training"]["gone"] = 1
    with pytest.raises(ConfigError, match=r"--resume: run\.json.*gone.*another version"):
        resumed(before, prepared)
