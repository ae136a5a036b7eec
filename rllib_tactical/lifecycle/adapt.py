"""Adapt a champion to recent bars: drift, training from its weights, gate, promotion.

The folder of an adaptation holds ``adapt.json`` (what is done, by which bundle, the result and the
time of every step), ``bars.parquet`` (the recent bars), ``run`` and ``bundle``. Whoever is stopped
goes on with ``resume``: finished steps are not done again, and training continues from its newest
checkpoint.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.artifacts.output_folder import ResumableOutput
from rllib_tactical.artifacts.run_folder import RUN
from rllib_tactical.backtest.comparison import training_config_of
from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.bundle.export import export_run
from rllib_tactical.bundle.manifest import MANIFEST
from rllib_tactical.bundle.registry import Registry
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import WarmStartConfig
from rllib_tactical.data.dataset import Dataset, DataSource, load_dataset
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.sizing import WarmUpBars
from rllib_tactical.domain.simulation.history import split_history
from rllib_tactical.errors import DataError, TrainingError, UsageError
from rllib_tactical.lifecycle.gate import GateResult, GateRules, gate
from rllib_tactical.monitoring.bundle_drift import bundle_profile, observe
from rllib_tactical.monitoring.monitor import assess
from rllib_tactical.monitoring.profile import read_profile, write_profile
from rllib_tactical.rl import train

ADAPT: Final = "adapt.json"
ADAPT_OUTPUT: Final = ResumableOutput(name="bundle adaptation", marker=ADAPT)

SPLITS: Final = (0.55, 0.15, 0.3)
"""Shares of the recent bars for training, validation and the gate; embargoes lie between them."""

Outcome = Literal["no_drift", "refused", "promoted", "passed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptSettings:
    """How to adapt.

    ``only_on_drift``: do nothing while the profile of the champion shows no drift; ``bars``: how
    many of the newest bars to use, all when None; ``iterations`` and ``train_seconds`` end the
    training, the champion's own iterations when both are None; ``promote``: whether a challenger
    that passes the gate is chosen.
    """

    only_on_drift: bool = False
    bars: int | None = None
    iterations: int | None = None
    train_seconds: float | None = None
    promote: bool = True
    rules: GateRules = field(default_factory=GateRules)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """How an adaptation ended; ``seconds`` by step, ``gate`` None where it was not reached."""

    outcome: Outcome
    champion: str
    challenger: str | None
    words: str
    seconds: dict[str, float]
    gate: dict[str, Any] | None


class Adaptation:
    """One adaptation in a folder.

    Args:
        registry: with a chosen bundle for the symbol.
        symbol: whose champion is adapted.
        source: file of bars up to now; its instrument is the champion's.
        out: folder of the adaptation.
        settings: how.
        config: of the training; that of the champion when None.
        apply: has a service change over, see ``Registry.promote``.
        by: who adapts.
        key: file of the private key that signs the challenger.
        log: prints a line.
    """

    def __init__(
        self,
        registry: Registry,
        symbol: str,
        source: Path,
        out: Path,
        settings: AdaptSettings,
        *,
        config: TacticalConfig | None = None,
        apply: Callable[[Path], None] | None = None,
        by: str | None = None,
        key: Path | None = None,
        log: Callable[[str], None] = print,
    ) -> None:
        chosen = registry.chosen(symbol)
        if chosen is None:
            raise UsageError(f"{registry.folder} must have a promoted bundle for {symbol}")
        self._registry, self._symbol, self._data = registry, symbol, source
        self._settings, self._apply, self._by, self._key = settings, apply, by, key
        self._out, self._given, self._log = out, config, log
        self._champion = registry.load(chosen)
        self._done: dict[str, Any] = {}

    def run(self, resume: bool = False) -> Adapted:
        """Adapt, or go on where an earlier call was stopped.

        Raises:
            TacticalError: bad data, a folder in use, a champion that changed meanwhile, training
                that cannot start, a service that refuses.
        """
        ADAPT_OUTPUT.require(self._out, resume=resume)
        self._out.mkdir(parents=True, exist_ok=True)
        champion = self._champion.bundle_id
        if resume:
            self._done = read_object(self._out / ADAPT)
            if self._done["champion"] != champion:
                raise UsageError(
                    f"--resume: the champion was {self._done['champion'][:12]} and is "
                    f"{champion[:12]} now: name another folder"
                )
            if (ended := self._done.get("ended")) is not None:
                return Adapted(**ended)
        else:
            self._done = {"champion": champion, "steps": {}, "seconds": {}}
            self._save()
        found = self._step("drift", self._drift)
        self._log(f"drift: {found['words']}")
        if self._settings.only_on_drift and not found["drift"]:
            return self._end("no_drift", None, found["words"], None)
        self._step("bars", self._recent_bars)
        self._step("training", self._train)
        challenger = load_bundle(self._out / "bundle")
        self._log(f"challenger {challenger.bundle_id[:12]}")
        result = self._step("gate", lambda: self._gate(challenger).to_dict())
        words = self._done["gate_words"]
        self._log(f"gate: {words}")
        self._step("registry", lambda: self._add(challenger, result))
        if not result["passed"]:
            return self._end("refused", challenger.bundle_id, words, result)
        self._log(f"drift: {self._step('profile', lambda: self._profile(challenger))['words']}")
        if not self._settings.promote:
            return self._end("passed", challenger.bundle_id, words, result)
        self._step("promotion", lambda: self._promote(challenger, words, result))
        return self._end("promoted", challenger.bundle_id, words, result)

    def _step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of a step; done once, with its time."""
        steps: dict[str, Any] = self._done["steps"]
        if name not in steps:
            begun = time.monotonic()
            steps[name] = work()
            took = round(time.monotonic() - begun, 3)
            self._done["seconds"][name] = took
            self._save()
            self._log(f"{name}: {took:.1f} s")
        found: dict[str, Any] = steps[name]
        return found

    def _end(
        self, outcome: Outcome, challenger: str | None, words: str, result: dict[str, Any] | None
    ) -> Adapted:
        ended = Adapted(
            outcome=outcome,
            champion=self._champion.bundle_id,
            challenger=challenger,
            words=words,
            seconds=dict(self._done["seconds"]),
            gate=result,
        )
        self._done["ended"] = dataclasses.asdict(ended)
        self._save()
        return ended

    def _save(self) -> None:
        write_object(self._out / ADAPT, self._done)

    def _source(self, path: Path) -> DataSource:
        return DataSource(path, self._champion.instrument, self._champion.synergies)

    def _dataset(self, path: Path) -> Dataset:
        return load_dataset(self._source(path), self._champion.bar_seconds).sized(WarmUpBars())

    def _drift(self) -> dict[str, Any]:
        path = self._registry.profile_path(self._champion.bundle_id)
        if not path.is_file():
            if self._settings.only_on_drift:
                raise UsageError(f"the champion must have a profile of drift, found none: {path}")
            return {"drift": None, "words": "not looked for: the champion has no profile"}
        profile = read_profile(path)
        report = assess(profile, observe(self._champion, self._dataset(self._data)))
        return {
            "drift": bool(report.alarms),
            "words": report.words,
            "alarms": [reading.name for reading in report.alarms],
            "sessions": len(report.session),
        }

    def _recent_bars(self) -> dict[str, Any]:
        dataset = self._dataset(self._data)
        count = self._settings.bars or len(dataset.bars)
        recent = dataset.bars[-count:]
        split_history(len(recent), SPLITS)  # refused before anything is trained
        write_bars(recent, self._out / "bars.parquet")
        return {"bars": len(recent), "sha256": dataset.sha256}

    def _config(self) -> TacticalConfig:
        config = self._given or training_config_of(self._champion)
        if config is None:
            raise TrainingError(
                "the champion's configuration is of another version of the program: give --config"
            )
        changes: dict[str, Any] = {
            "splits": SPLITS,
            "seed": self._settings.seed,
            "warm_start": WarmStartConfig(path=str(self._champion.path.resolve()), layers="all"),
        }
        if self._settings.iterations is not None:
            changes["iterations"] = self._settings.iterations
        training = dataclasses.replace(config.training, **changes)
        return dataclasses.replace(config, training=training)

    def _train(self) -> dict[str, Any]:
        run, bundle = self._out / "run", self._out / "bundle"
        if not (bundle / MANIFEST).is_file():
            train(
                [self._source(self._out / "bars.parquet")],
                run,
                self._config(),
                bar_seconds=self._champion.bar_seconds,
                resume=(run / RUN).is_file(),
                max_seconds=self._settings.train_seconds,
                log=self._log,
            )
            export_run(run, bundle, parent=self._champion.path)
        return {"bundle_id": load_bundle(bundle).bundle_id}

    def _gate(self, challenger: Bundle) -> GateResult:
        dataset = self._dataset(self._out / "bars.parquet")
        _, _, test = split_history(len(dataset.bars), SPLITS)
        if test.stop - test.start < 2:
            raise DataError("the gate must have bars, found none")
        result = gate(
            self._champion,
            challenger,
            dataset.history,
            test.start,
            test.stop,
            self._settings.rules,
            self._settings.seed,
        )
        self._done["gate_words"] = result.words
        return result

    def _add(self, challenger: Bundle, result: dict[str, Any]) -> dict[str, Any]:
        entry = self._registry.add(
            challenger.path,
            why=f"adapted from {self._champion.bundle_id[:12]}",
            by=self._by,
            metrics={"gate": result},
            key=self._key,
        )
        return {"bundle_id": entry.bundle_id}

    def _profile(self, challenger: Bundle) -> dict[str, Any]:
        """Write what the challenger's drift will be measured by, before it may be chosen."""
        path = self._registry.profile_path(challenger.bundle_id)
        try:
            profile = bundle_profile(challenger, self._dataset(self._out / "bars.parquet"))
        except DataError as error:
            return {"words": f"the challenger has no profile: {error}"}
        path.parent.mkdir(exist_ok=True)
        write_profile(path, profile)
        return {"words": f"profile of the challenger {path}"}

    def _promote(self, challenger: Bundle, words: str, result: dict[str, Any]) -> dict[str, Any]:
        if self._registry.chosen(self._symbol) != challenger.bundle_id:
            self._registry.promote(
                challenger.bundle_id,
                why=f"adapted, gate {words}",
                by=self._by,
                evidence={"gate": result, "drift": self._done["steps"]["drift"]},
                apply=self._apply,
            )
        return {"chosen": challenger.bundle_id}
