"""A sweep for TensorBoard's page of hyperparameters: a session for each trial, with its result."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from rllib_tactical.sweep.folder import trial_name
from rllib_tactical.sweep.history import FAILED, TrialHistory

HPARAMS: Final = "hparams"
METRICS: Final = {"validation/net_pnl": "net_pnl", "validation/trades": "trades"}
"""By tag: of the best result of a trial."""


def write_hparams(folder: Path, trials: Iterable[TrialHistory]) -> None:
    """Write a folder with an event file for each trial that has a result; replace what is there.

    Learning curves are in the trials' own run folders.
    """
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for trial in trials:
        if trial.best is None:
            continue
        writer = EventFileWriter(str(folder / trial_name(trial.number)))
        for event in _events(trial):
            writer.add_event(event)
        writer.close()


def _events(trial: TrialHistory) -> list[Any]:
    """Return the session's start, its results by iteration, and its end."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    now, best = time.time(), trial.best or {}
    start = plugin_data_pb2.SessionStartInfo(group_name=trial_name(trial.number))
    for key, value in trial.params.items():
        place = start.hparams[key]
        if isinstance(value, bool):
            place.bool_value = value
        elif isinstance(value, int | float):
            place.number_value = value
        else:
            place.string_value = value if isinstance(value, str) else json.dumps(value)
    status = "STATUS_FAILURE" if trial.status == FAILED else "STATUS_SUCCESS"
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(status), end_time_secs=now)
    told = [
        (metadata.SESSION_START_INFO_TAG, {"session_start_info": start}),
        (metadata.SESSION_END_INFO_TAG, {"session_end_info": end}),
    ]
    first, last = (
        Event(wall_time=now, summary=Summary(value=[_value(tag, content)])) for tag, content in told
    )
    results = [
        Summary.Value(tag=tag, simple_value=float(best[name])) for tag, name in METRICS.items()
    ]
    step = int(best["env_steps"])
    return [first, Event(wall_time=now, step=step, summary=Summary(value=results)), last]


def _value(tag: str, content: dict[str, Any]) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    described = metadata.create_summary_metadata(data)
    return Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)
