"""Make a policy bundle from a training run or one of its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rllib_tactical.artifacts.run_folder import (
    CHECKPOINT,
    RunFolder,
    config_of,
    read_checkpoint,
    read_weights,
)
from rllib_tactical.bundle.bundle import Bundle, export_bundle, load_bundle
from rllib_tactical.config.loader import from_dict
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import UnreadableError, UsageError


def export_run(
    source: Path,
    out: Path,
    symbol: str | None = None,
    parent: Path | None = None,
    sweep: dict[str, Any] | None = None,
) -> Bundle:
    """Export a run's best checkpoint by validation P&L, or the checkpoint that ``source`` is.

    Args:
        source: a run's folder or a checkpoint's.
        out: the bundle folder to make.
        symbol: the instrument that the bundle decides for; needed when the run had several.
        parent: the bundle that this one follows; it is verified, and its id recorded. It may be
            the one in ``out``, which is replaced.
        sweep: what the bundle remembers of the sweep that the run was a trial of.

    Raises:
        UsageError: the run had several instruments and none, or another, is named; the parent is
            for bars of another length; ``out`` holds something else.
        UnreadableError: neither a run nor a checkpoint, no checkpoint yet, or no parent there.
        BundleError: the weights do not fit, or the parent is damaged.
    """
    if (source / CHECKPOINT).is_file():
        checkpoint, folder = source, RunFolder(source.resolve().parents[1])
    else:
        folder = RunFolder(source)
        folder.read()
        newest = folder.checkpoints()[-1:]
        checkpoint = folder.best() or (newest[0] if newest else source)
    run = folder.read()
    if not (checkpoint / CHECKPOINT).is_file():
        raise UnreadableError(f"{source}: the run has no checkpoint yet")
    state = read_checkpoint(checkpoint)
    validation: dict[str, Any] | None = state.get("validation")
    part = _part_of(run, symbol)
    bar_seconds = int(run["bar_seconds"])
    followed = None if parent is None else load_bundle(parent)
    if followed is not None and followed.bar_seconds != bar_seconds:
        raise UsageError(
            f"--parent must be of the run's bars ({bar_seconds} s), "
            f"found bars of {followed.bar_seconds} s"
        )
    config = config_of(run, f"{folder.path}: config")
    return export_bundle(
        out,
        weights=read_weights(checkpoint),
        rules=_rules_of(config.rules, validation),
        instrument=from_dict(Instrument, part["instrument"], f"{folder.path}: instrument"),
        bar_seconds=bar_seconds,
        temperature_scale=float(validation["temperature_scale"]) if validation else 1.0,
        training={
            "config": run["config"],
            "config_hash": run["config_hash"],
            "data": part["data"],
            "trained_with": [each["data"] for each in run["parts"] if each is not part],
            "iteration": state["iteration"],
            "env_steps": state["env_steps"],
            "seed": config.training.seed,
            # of a checkpoint that no run of our own has written
            **{key: state[key] for key in ("algorithm",) if key in state},
            # of the program that began the run; the manifest has those of the export beside
            "git_commit": run.get("git_commit"),
            "versions": run.get("versions"),
            **({} if sweep is None else {"sweep": sweep}),
        },
        metrics={"validation": validation},
        parent=None if followed is None else followed.bundle_id,
        network=config.model.network,
    )


def _rules_of(rules: Rules, validation: dict[str, Any] | None) -> Rules:
    """Return the rules, with the execution threshold that validation chose for a win rate."""
    threshold = ((validation or {}).get("target") or {}).get("threshold")
    return rules if threshold is None else rules.with_execution_threshold(float(threshold))


def _part_of(run: dict[str, Any], symbol: str | None) -> dict[str, Any]:
    parts: dict[str, dict[str, Any]] = {p["instrument"]["symbol"]: p for p in run["parts"]}
    if symbol is None and len(parts) == 1:
        return next(iter(parts.values()))
    if symbol not in parts:
        raise UsageError(
            f"--instrument must name one of the run's instruments ({', '.join(parts)}), "
            f"found {symbol!r}"
        )
    return parts[symbol]
