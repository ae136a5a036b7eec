"""What the shadow last found, and how replicas read it: one small file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from rllib_tactical.artifacts.atomic import atomic_write_bytes
from serve.api.alerts import AlertCode
from serve.api.experiment import ExperimentAnswer, SymbolExperiment
from serve.api.health import Alert
from serve.state.machine import StateMachine

_LOG = logging.getLogger(__name__)
EXPERIMENT_FILE: Final = "experiment.json"

STALE_S: Final = 600.0
"""After so long without a look of the shadow there is an alert."""


def write_experiment(folder: Path, found: ExperimentAnswer) -> None:
    """Leave a result for the replicas.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(folder / EXPERIMENT_FILE, msgspec.json.encode(found))


class ExperimentReader:
    """Reads the shadow's file when it has changed.

    Args:
        folder: of the state on this machine.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / EXPERIMENT_FILE
        self._stamp = 0
        self._known = ExperimentAnswer()

    def read(self, machine: StateMachine) -> ExperimentAnswer:
        """Return what is known of the experiment that goes on in a state."""
        experiment = machine.experiment
        wanted = {
            symbol: {each.bundle_id for each in experiment.of(symbol)}
            for symbol in machine.served
            if experiment.of(symbol)
        }
        if not wanted:
            return ExperimentAnswer()
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._known = msgspec.json.decode(self._path.read_bytes(), type=ExperimentAnswer)
                self._stamp = stamp
        except FileNotFoundError:
            self._known = ExperimentAnswer()
        except (OSError, msgspec.DecodeError) as error:
            _LOG.warning("the result of the shadow cannot be read: %s", error)
        return ExperimentAnswer(
            at_s=self._known.at_s,
            split=experiment.record.split,
            symbols={
                symbol: SymbolExperiment(
                    champion=found.champion,
                    challengers=[c for c in found.challengers if c.bundle_id in wanted[symbol]],
                    deciding=machine.deciding(symbol).bundle_id,
                )
                for symbol, found in self._known.symbols.items()
                # of another champion before this one nothing is said
                if symbol in wanted and found.champion == machine.symbols[symbol].model.bundle_id
            },
        )


def experiment_alerts(found: ExperimentAnswer, symbol: str, named: bool = False) -> list[Alert]:
    """Return a warning for each comparison of a symbol that has a result.

    ``named``: the message says which symbol it is.
    """
    own, name = found.symbols.get(symbol), f"{symbol}: " if named else ""
    return [
        Alert.of(
            AlertCode.EXPERIMENT_DECIDED, f"{name}challenger {each.bundle_id[:12]}: {each.words}"
        )
        for each in ([] if own is None else own.challengers)
        if each.verdict != "running"
    ]


def stale_alerts(found: ExperimentAnswer, now_s: float) -> list[Alert]:
    """Return a warning when the shadow has not looked for too long."""
    if found.at_s is None or now_s - found.at_s <= STALE_S:
        return []
    text = f"the challengers have answered nothing for {now_s - found.at_s:.0f} s"
    return [Alert.of(AlertCode.EXPERIMENT_STALE, text)]
