"""Start with the actors of an earlier run, checkpoint or bundle instead of random ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from rllib_tactical.artifacts.run_folder import CHECKPOINT, RUN, RunFolder, read_weights
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.bundle.manifest import MANIFEST
from rllib_tactical.bundle.network_registry import CONV
from rllib_tactical.bundle.networks import actor_stack_from_weights
from rllib_tactical.domain.types import AGENTS, Float32Array
from rllib_tactical.errors import BundleError, TrainingError, UnreadableError

CONV_LAYERS: Final = ("attention", "conv1.", "conv2.")
"""Attention weights multiply the first convolution's inputs: one means little without the other."""


def read_actors(path: Path, network: str = CONV) -> dict[str, Float32Array]:
    """Return actor weights named ``agent.parameter`` of a bundle, a checkpoint or a run.

    Of a run, those of its best checkpoint, else of its newest. ``network``: which the actors of a
    run or a checkpoint must have; a bundle names its own.

    Raises:
        UnreadableError: the path is none of the three, or its files are damaged.
        BundleError: the bundle does not verify, or the weights are not those of three actors.
    """
    if (path / MANIFEST).is_file():
        return load_bundle(path).weights
    if (path / CHECKPOINT).is_file():
        weights = read_weights(path)
    elif (path / RUN).is_file():
        folder = RunFolder(path)
        chosen = folder.best() or next(iter(folder.checkpoints()[-1:]), None)
        if chosen is None:
            raise UnreadableError(f"{path}: the run has no checkpoint yet")
        weights = read_weights(chosen)
    else:
        raise UnreadableError(f"{path}: neither a bundle nor a run nor a checkpoint")
    try:
        actor_stack_from_weights(weights, network)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    return weights


def describe_warm_start(path: Path, layers: str, network: str = CONV) -> dict[str, Any]:
    """Return what a run folder remembers of its warm start."""
    weights = read_actors(path, network)
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return {"name": path.name, "layers": layers, "weights_sha256": digest.hexdigest()}


def warm_start(algorithm: Any, path: Path, layers: str, network: str = CONV) -> None:
    """Put weights into the learner's actors; the runners get them with the next sync.

    Args:
        algorithm: a fresh one.
        path: see ``read_actors``.
        layers: ``conv`` (attention and convolutions) or ``all``.
        network: of the algorithm's actors.

    Raises:
        TacticalError: as of ``read_actors``; a weight of a running actor has no counterpart.
    """
    given = read_actors(path, network)
    group = algorithm.learner_group
    state = group.get_weights(module_ids=list(AGENTS))
    if layers == "conv" and network != CONV:
        raise TrainingError(
            f"training.warm_start.layers must be all for the network {network!r}, found 'conv'"
        )
    for agent in AGENTS:
        for name in state[agent]:
            own = name.removeprefix("actor.")
            if layers == "all" or own.startswith(CONV_LAYERS):
                value = given.get(f"{agent}.{own}")
                if value is None or value.shape != np.shape(state[agent][name]):
                    raise TrainingError(f"warm start: {path} has no fitting {agent}.{own}")
                state[agent][name] = np.array(value)
    group.set_weights({agent: state[agent] for agent in AGENTS})
