"""Beginning with the actors of a run, a checkpoint or a bundle."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from rllib_tactical.artifacts.run_folder import RunFolder, read_weights
from rllib_tactical.bundle.export import export_run
from rllib_tactical.cli.main import main
from rllib_tactical.config.training import WarmStartConfig
from rllib_tactical.errors import BundleError, TrainingError, UnreadableError
from rllib_tactical.rl import train
from rllib_tactical.rl.training.warm_start import read_actors
from tests.rl.small import small_config

pytestmark = pytest.mark.ray


def changed(**changes):
    # what a run ends with is what it began with, nearly
    return small_config(**{"iterations": 1, "batch_size": 512, "actor_lr": 1e-12} | changes)


@pytest.fixture(scope="module")
def first(bars, tmp_path_factory, ray_instance):
    """A run whose actors are to be gone on with."""
    out = tmp_path_factory.mktemp("runs") / "first"
    train([bars], out, changed(actor_lr=1e-3, seed=3), log=lambda line: None)
    return out


def ended_with(out):
    return read_weights(RunFolder(out).checkpoints()[-1])


def test_a_run_a_checkpoint_and_a_bundle_give_the_same_actors(first, tmp_path):
    expected = ended_with(first)
    export_run(first, tmp_path / "bundle")
    for path in (first, RunFolder(first).checkpoints()[-1], tmp_path / "bundle"):
        found = read_actors(path)
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("layers", ["conv", "all"])
def test_a_run_begins_with_the_layers_that_were_asked_for(layers, first, bars, tmp_path):
    given = ended_with(first)
    warm = WarmStartConfig(path=str(first), layers=layers)
    config = changed(warm_start=warm, seed=8)
    train([bars], tmp_path / "run", config, log=lambda line: None)
    found = ended_with(tmp_path / "run")
    taken = {
        name for name, value in found.items() if np.allclose(value, given[name], atol=1e-7, rtol=0)
    }
    always = {n for n in given if n.endswith((".mean", ".std", ".temperature", "out.bias"))}
    conv = {n for n in given if n.split(".")[1] in ("attention", "conv1", "conv2")}
    assert taken >= conv
    if layers == "all":
        assert taken == set(given)
    else:
        assert not {n for n in taken - conv - always if "weight" in n}
    run = RunFolder(tmp_path / "run").read()
    assert run["warm_start"]["name"] == "first"
    assert len(run["warm_start"]["weights_sha256"]) == 64

    with pytest.raises(TrainingError, match="warm start differs"):
        train([bars], tmp_path / "run", changed(seed=8, iterations=2), resume=True)


def test_the_source_is_needed_until_there_is_a_checkpoint(first, bars, tmp_path):
    source, out = tmp_path / "source", tmp_path / "run"
    shutil.copytree(first, source)
    warm = WarmStartConfig(path=str(source))
    train([bars], out, changed(warm_start=warm), log=lambda line: None)
    shutil.rmtree(source)
    config = changed(warm_start=warm, iterations=2)
    train([bars], out, config, resume=True, log=lambda line: None)
    assert RunFolder(out).read()["warm_start"]["name"] == "source"
    elsewhere = changed(warm_start=WarmStartConfig(path=str(first)), iterations=2)
    with pytest.raises(TrainingError, match=r"training\.warm_start"):
        train([bars], out, elsewhere, resume=True)

    shutil.copytree(RunFolder(out).checkpoints()[-1], source)  # other weights
    shutil.rmtree(out / "checkpoints")
    with pytest.raises(TrainingError, match="warm start differs"):
        train([bars], out, config, resume=True)


def test_what_is_no_actors_is_refused_before_anything_starts(bars, tmp_path, first):
    arguments = ["train", "--data", str(bars.path), "--instrument", "SYNTH"]
    out = tmp_path / "run"
    for path in (tmp_path / "nothing", bars.path):
        with pytest.raises(UnreadableError, match="neither a bundle nor a run"):
            read_actors(path)
        call = [*arguments, "--out", str(out), "--warm-start", str(path)]
        result = CliRunner().invoke(main, call)
        assert isinstance(result.exception, UnreadableError)
        assert not out.exists()
    result = CliRunner().invoke(main, [*arguments, "--out", str(out), "--warm-layers", "all"])
    assert "--warm-start" in str(result.exception)


def test_weights_that_are_not_three_actors_are_refused(first, tmp_path):
    from safetensors.numpy import save

    copied = tmp_path / "checkpoint"
    copied.mkdir()
    (copied / "checkpoint.json").write_text("{}")
    weights = ended_with(first)
    weights.pop("fvg.out.bias")
    (copied / "actors.safetensors").write_bytes(save(weights))
    with pytest.raises(BundleError, match=r"out\.bias"):
        read_actors(copied)
