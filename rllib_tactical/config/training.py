"""Settings of training: MAPPO, validation, stop criteria, warm start."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from rllib_tactical.config.curriculum import DATA, StageConfig, check_curriculum
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.domain.types import StrictConfig
from rllib_tactical.errors import require

MAX_TEMPERATURE_SCALE = 100.0

DEFAULT_STEPS = 8192
"""Account steps of an iteration unless the configuration says."""

SAMPLED_EPOCHS = 4
"""Passes over the steps of an update with sampled credit, unless the configuration says."""

EXACT_PATIENCE = 5
"""Validations without a better one that end a run with exact credit, unless told otherwise."""

MAX_SEED = 2**32 - 1
"""The largest number that NumPy's and PyTorch's older generators take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig(StrictConfig):
    """Validation by the serving rule.

    ``every`` so many iterations; 0: with every checkpoint. ``workers``: Ray tasks of one CPU that
    trade the validation bars while training goes on; 0: the driver does, and training waits.
    ``best_by``: the metric by which the best checkpoint is kept and exported, and which ``stop``
    looks at: net P&L, daily Sharpe ratio or win rate on validation bars, the last undefined with
    fewer than 10 trades, or the mean of the last 100 episode rewards, undefined before so many have
    ended. ``target_win_rate``: share of trades that are to be profitable; the execution threshold
    is then raised on validation bars, and the bundle has it. None: the threshold stays as it is.
    """

    every: int = 0
    workers: int = 0
    best_by: Literal["net_pnl", "sharpe", "win_rate", "reward"] = "net_pnl"
    target_win_rate: float | None = None

    def __post_init__(self) -> None:
        require(
            self.target_win_rate is None or 0.0 < self.target_win_rate < 1.0,
            "training.validation.target_win_rate must be in (0, 1) or null",
            self.target_win_rate,
        )
        require(self.every >= 0, "training.validation.every must be >= 0", self.every)
        require(self.workers >= 0, "training.validation.workers must be >= 0", self.workers)

    def workers_for(self, instruments: int) -> int:
        """Return how many workers have something to trade: an instrument is not shared."""
        return min(self.workers, instruments)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopConfig(StrictConfig):
    """When a run ends before its last iteration; each is off at its default but ``patience``.

    ``target``: ``validation.best_by`` has reached this value. ``patience``: so many validations in
    a row brought no better one; 0: off, None: 5 with exact credit, which learns the training bars
    by heart in the end, and off with sampled credit. ``converged``: the coefficient of variation of
    the last 100 episode rewards is below 5%. ``max_seconds`` and ``max_env_steps`` count the whole
    run. With a curriculum the first three count in its last stage only.
    """

    target: float | None = None
    patience: int | None = None
    converged: bool = False
    max_seconds: float | None = None
    max_env_steps: int | None = None

    def __post_init__(self) -> None:
        require(
            self.patience is None or self.patience >= 0,
            "training.stop.patience must be >= 0",
            self.patience,
        )
        if self.target is not None:
            require(math.isfinite(self.target), "training.stop.target must be finite", self.target)
        for name in ("max_seconds", "max_env_steps"):
            value = getattr(self, name)
            if value is not None:
                require(0 < value < math.inf, f"training.stop.{name} must be > 0", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStartConfig(StrictConfig):
    """Actor weights to begin with.

    ``path``: a run, a checkpoint or a bundle. ``layers`` "conv": attention weights and both
    convolutions; "all": the actors as they were, input standardization and temperature included.
    """

    path: str | None = None
    layers: Literal["conv", "all"] = "conv"


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualConfig(StrictConfig):
    """Learning from what trades on either side of every training bar would have brought.

    Used with ``credit: counterfactual``. ``pretraining_passes``: how often each training bar is
    seen by the regressions that the actors start from, all three together, but no more than
    ``pretraining_bars`` bars are seen altogether; 0 for none, as with a warm start or a registered
    network.
    ``temperature``: reward that is worth one unit of a vote's logit, and the weight of the entropy.
    ``outcome_coef``: weight of the squared error of predicted outcomes in the actors' loss.
    ``mirror``: up and down are taken as alike, so that half of the bars are turned upside down;
    false where a market's drift is real.
    """

    pretraining_passes: float = 4.0
    pretraining_bars: int = 1_500_000
    temperature: float = 0.25
    outcome_coef: float = 10.0
    mirror: bool = True

    def __post_init__(self) -> None:
        where = "training.counterfactual"
        require(
            0 <= self.pretraining_passes < math.inf,
            f"{where}.pretraining_passes must be finite and >= 0",
            self.pretraining_passes,
        )
        require(
            self.pretraining_bars >= 1,
            f"{where}.pretraining_bars must be >= 1",
            self.pretraining_bars,
        )
        require(
            0 < self.temperature < math.inf,
            f"{where}.temperature must be finite and > 0",
            self.temperature,
        )
        require(
            0 <= self.outcome_coef < math.inf,
            f"{where}.outcome_coef must be finite and >= 0",
            self.outcome_coef,
        )


_RANGES: Final[tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...]] = (
    (
        (
            "iterations",
            "epochs",
            "steps_per_update",
            "episodes_per_update",
            "batch_size",
            "num_envs",
            "accounts_per_bar",
            "learner_threads",
            "checkpoint_every",
            "checkpoint_episodes",
            "keep_checkpoints",
        ),
        lambda value: value >= 1,
        ">= 1",
    ),
    (("num_env_runners", "num_learners", "learner_gpus"), lambda value: value >= 0, ">= 0"),
    (("overlap",), lambda value: value in (0, 1), "0 or 1"),
    (("seed",), lambda value: 0 <= value <= MAX_SEED, f"in 0..{MAX_SEED}"),
    (
        ("actor_lr", "critic_lr", "clip_ratio", "max_grad_norm"),
        lambda value: 0 < value < math.inf,
        "finite and > 0",
    ),
    (
        ("entropy_coef", "value_loss_coef"),
        lambda value: 0 <= value < math.inf,
        "finite and >= 0",
    ),
    (("actor_lr_end_factor", "entropy_end_factor"), lambda value: 0 <= value <= 1, "in [0, 1]"),
    (("gamma", "gae_lambda", "train_confidence"), lambda value: 0 < value <= 1, "in (0, 1]"),
)
"""What numbers of the training section must be, in code and in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(StrictConfig):
    """MAPPO and the run around it.

    An iteration samples ``steps_per_update`` account steps, or as many as ``episodes_per_update``
    episodes have; 8,192 when both are null. ``num_env_runners`` Ray actors (0: the driver) step
    ``num_envs`` accounts each; with ``overlap`` 1 they sample the next iteration's steps while the
    learner learns from this one's, which are then one update old. The steps are learnt from for
    ``epochs`` passes in batches of ``batch_size`` account steps; None: one pass with exact credit,
    four with sampled credit. ``actor_lr`` is the rate of every agent without one of its own; None:
    lower after pre-training than without it, see ``TacticalConfig.actor_lr``.
    ``credit``: "counterfactual" takes the exact advantages of all votes on all training bars, see
    ``CounterfactualConfig``; "sampled" (or "decisive", its older name) the advantages of the
    sampled votes that decided something, "all" those of every sampled vote. ``updates``: the agents
    learn "together" from the policies before the update, or one after the other in a random order
    ("sequential"), each from the others' policies as they are by then; exact credit only.
    ``trace``: returns reach to the end of the episode, or of the trade; beyond it stands the
    critic's value. ``actor_lr`` and ``entropy_coef`` change linearly over ``iterations``, to their
    ``end_factor`` times what they were. ``accounts_per_bar`` accounts replay the same bars side by
    side: an actor's output depends on the bar only, so they share its forward and backward pass.
    ``train_confidence`` is the confidence with which every sampled vote counts. ``precision`` is
    that of the learner's matrix products; ``learner_threads`` of the four modules are computed at a
    time, with the results of one, where one learner computes on a CPU; ``learner_gpus`` GPUs are
    given to each learner. ``strict``: a precision without hardware is refused, not warned of.
    ``splits`` are the shares of the bars for training, validation and test.

    A checkpoint is written every ``checkpoint_every`` iterations or ``checkpoint_episodes`` ended
    episodes, whichever is first, and with every validation; the last ``keep_checkpoints`` and the
    best are kept. ``record_rollouts`` writes every sampled step to Parquet files in the run folder.
    """

    algorithm: Literal["mappo"] = "mappo"
    iterations: int = 100
    seed: int = 0
    actor_lr: float | None = None
    actor_lr_end_factor: float = 0.0
    critic_lr: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    credit: Literal["all", "sampled", "decisive", "counterfactual"] = "counterfactual"
    counterfactual: CounterfactualConfig = field(default_factory=CounterfactualConfig)
    updates: Literal["together", "sequential"] = "together"
    trace: Literal["episode", "trade"] = "trade"
    clip_ratio: float = 0.2
    entropy_coef: float = 0.01
    entropy_end_factor: float = 1.0
    value_loss_coef: float = 0.5
    max_grad_norm: float = 0.5
    epochs: int | None = None
    steps_per_update: int | None = None
    episodes_per_update: int | None = None
    batch_size: int = 2048
    num_env_runners: int = 1
    overlap: int = 0
    num_envs: int = 128
    accounts_per_bar: int = 8
    num_learners: int = 0
    learner_threads: int = 2
    learner_gpus: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    strict: bool = False
    train_confidence: float = 1.0
    episodes: EpisodeConfig = field(default_factory=EpisodeConfig)
    splits: tuple[float, float, float] = (0.7, 0.15, 0.15)
    temperature_scales: tuple[float, ...] = (4.0, 2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.125)
    checkpoint_every: int = 10
    checkpoint_episodes: int = 1000
    keep_checkpoints: int = 10
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    stop: StopConfig = field(default_factory=StopConfig)
    curriculum: tuple[StageConfig, ...] = ()
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    record_rollouts: bool = False

    def __post_init__(self) -> None:
        if self.steps_per_update is None and self.episodes_per_update is None:
            object.__setattr__(self, "steps_per_update", DEFAULT_STEPS)
        if self.credit == "sampled":
            object.__setattr__(self, "credit", "decisive")
        for names, holds, rule in _RANGES:
            for name in names:
                value = getattr(self, name)
                require(value is None or holds(value), f"training.{name} must be {rule}", value)
        self._check_sizes()
        require(
            min(self.splits) >= 0 and self.splits[0] > 0 and abs(sum(self.splits) - 1) < 1e-9,
            "training.splits must be shares that sum to 1, the first > 0",
            self.splits,
        )
        require(
            bool(self.temperature_scales)
            and all(0 < scale <= MAX_TEMPERATURE_SCALE for scale in self.temperature_scales),
            f"training.temperature_scales must list values in (0, {MAX_TEMPERATURE_SCALE:g}]",
            self.temperature_scales,
        )
        require(
            self.updates == "together" or self.credit == "counterfactual",
            "training.updates must be together unless training.credit is counterfactual",
            self.updates,
        )
        check_curriculum(self.curriculum)

    def _check_sizes(self) -> None:
        require(
            self.steps_per_update is None or self.episodes_per_update is None,
            "training.steps_per_update or episodes_per_update must be null: they say the same",
            (self.steps_per_update, self.episodes_per_update),
        )
        require(
            self.episodes_per_update is None or self.episodes.kind == "bars",
            "training.episodes_per_update needs episodes of kind bars, whose length is known "
            "(else give steps_per_update)",
            self.episodes.kind,
        )
        alone = self.num_env_runners == 0
        rule = "training.overlap must be 0 with num_env_runners 0: one process samples and learns"
        require(not (alone and self.overlap), rule, self.overlap)
        for name, value in (("batch_size", self.batch_size), ("num_envs", self.num_envs)):
            _require_multiple(name, value, "accounts_per_bar", self.accounts_per_bar)
        require(
            self.update_steps >= self._all,
            f"training.steps_per_update must be one step of every account or more: num_envs x "
            f"num_env_runners ({self._all})",
            self.update_steps,
        )
        require(
            self.batch_size <= self.update_steps,
            f"training.batch_size must not exceed the steps of an update ({self.update_steps})",
            self.batch_size,
        )

    @property
    def update_steps(self) -> int:
        """Account steps of an iteration; one more of some env runners where they do not divide it.

        ``episodes_per_update`` episodes are rounded up to whole steps of all accounts.
        """
        if self.steps_per_update is not None:
            return self.steps_per_update
        steps = (self.episodes_per_update or 0) * self.episodes.length
        return -(-steps // self._all) * self._all

    @property
    def patience(self) -> int:
        """How many validations without a better one end the run; 0: none do."""
        if self.stop.patience is not None:
            return self.stop.patience
        return EXACT_PATIENCE if self.credit == "counterfactual" else 0

    @property
    def passes(self) -> int:
        """How often the steps of an update are learnt from."""
        return self.epochs or (1 if self.credit == "counterfactual" else SAMPLED_EPOCHS)

    @property
    def _all(self) -> int:
        """Accounts that step together, on all env runners."""
        return self.num_envs * max(1, self.num_env_runners)


def _require_multiple(name: str, value: int, of: str, unit: int) -> None:
    below = value - value % unit
    fitting = " or ".join(str(each) for each in (below, below + unit) if each)
    require(
        value % unit == 0,
        f"training.{name} must be a multiple of {of} ({unit}), such as {fitting}",
        value,
    )


def check_validated(
    share: float,
    validation: ValidationConfig,
    stop: StopConfig,
    stages: tuple[StageConfig, ...],
) -> None:
    """Check that nothing waits for what validation can never say.

    Not a rule of the configuration itself: runs that broke it were made, and can be exported.

    Args:
        share: of the bars that are for validation.
        validation: how it is done.
        stop: when a run ends.
        stages: of the curriculum; their markets are split as the files are.

    Raises:
        ConfigError: there are no validation bars and a criterion needs them, or a stage of noise
            waits for a share of what its oracle may not earn.
    """
    waiting = {
        "stop.target": stop.target is not None,
        "stop.patience": (stop.patience or 0) > 0,
        f"validation.best_by {validation.best_by}": validation.best_by != "net_pnl",
    } | {
        f"stage {stage.name!r} without max_iterations": stage.market != DATA
        and stage.promote_by != "reward"
        and stage.max_iterations is None
        for stage in stages
    }
    needed = ", ".join(name for name, waits in waiting.items() if waits)
    require(
        share > 0 or not needed,
        f"training.splits must leave bars for validation, which is needed by {needed}",
        share,
    )
    for stage in stages:
        require(
            (stage.market, stage.promote_by, stage.max_iterations)
            != ("noise", "oracle_share", None),
            f"training.curriculum: stage {stage.name!r}: max_iterations is needed to leave noise "
            "by oracle_share, which is undefined where the oracle earns nothing",
            None,
        )
