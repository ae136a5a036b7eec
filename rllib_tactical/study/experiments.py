"""The questions of the study: each changes one thing and keeps the rest, seed by seed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rllib_tactical.config.loader import content_hash, from_dict, reward_preset, to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.synthetic import MARKETS
from rllib_tactical.synthetic.coupled import COUPLED, PLACES
from rllib_tactical.synthetic.parameters import UNTUNED

BASE: Final = "default"
REGRESSION: Final = "regression"
SINGLE_EDGE: Final = ("gap", "momentum")
SESSION_BARS: Final = 288
"""Of a synthetic market: around the clock, five minutes each."""

Changes = dict[str, Any]
"""Dotted configuration keys and their values, e.g. ``{"training.gamma": 0.95}``; ``rewards`` alone
names a preset."""

SAMPLED: Final[Changes] = {"training.credit": "sampled"}
RUNNER: Final[Changes] = {"training.num_env_runners": 1}
AHEAD: Final[Changes] = {**RUNNER, "training.overlap": 1}

ONE_PLACE: Final[Changes] = {"training.episodes.positions": PLACES}


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to train: the default configuration with ``changes``."""

    name: str
    changes: Changes


@dataclass(frozen=True, slots=True)
class Question:
    """An experiment: ``variants`` compared on the same ``markets`` and seeds.

    The other variants are compared with the first one.
    """

    name: str
    title: str
    variants: tuple[Variant, ...]
    markets: tuple[str, ...] = SINGLE_EDGE


DEFAULT: Final = Variant(BASE, {})


def _question(name: str, title: str, *variants: tuple[str, Changes], **more: Any) -> Question:
    return Question(name, title, (DEFAULT, *(Variant(*each) for each in variants)), **more)


QUESTIONS: Final = {
    question.name: question
    for question in (
        Question("learnability", "How much of the oracle do the agents earn?", (DEFAULT,), MARKETS),
        Question(
            "agents", "Does each agent add to the result?", (DEFAULT,), (*SINGLE_EDGE, "regime")
        ),
        Question("scale", "Does the temperature scale matter?", (DEFAULT,), MARKETS),
        Question(
            REGRESSION,
            "What do updates add to the regression that the actors begin with?",
            (DEFAULT,),
            (*MARKETS, *UNTUNED),
        ),
        _question(
            "veto",
            "Entry veto or a simple vote?",
            ("plain vote", {"aggregation.entry_veto": False}),
        ),
        _question(
            "confidence",
            "Which confidence do votes have in training?",
            ("train_confidence 0.9", {"training.train_confidence": 0.9}),
        ),
        _question("preset", "Do bonuses help?", ("rewards: full", {"rewards": "full"})),
        _question(
            "timing",
            "Reward every bar, or the closed trade?",
            ("on close", {"rewards.timing": "on_close"}),
        ),
        Question(
            "sharing",
            "Rewards per agent, or shared? (with bonuses; without them all are equal)",
            (
                Variant("rewards: full, per agent", {"rewards": "full"}),
                Variant("rewards: full, shared", {"rewards": "full", "rewards.shared": True}),
            ),
        ),
        Question(
            "credit",
            "With sampled credit: which votes get credit, for which rewards?",
            (
                Variant("sampled credit", SAMPLED),
                Variant("every vote", {"training.credit": "all"}),
                Variant("returns across trades", {**SAMPLED, "training.trace": "episode"}),
                Variant("both", {"training.credit": "all", "training.trace": "episode"}),
            ),
        ),
        _question(
            "exact",
            "Exact credit on all bars, or credit for what was sampled?",
            ("sampled credit", SAMPLED),
            markets=MARKETS,
        ),
        _question(
            "scale_of_reward",
            "At which P&L does the reward saturate?",
            ("$100", {"rewards.pnl_scale": 100.0}),
        ),
        _question(
            "discount",
            "How far ahead do returns look?",
            ("gamma 0.95", {"training.gamma": 0.95}),
            ("gamma 0.9, lambda 0.9", {"training.gamma": 0.9, "training.gae_lambda": 0.9}),
        ),
        _question(
            "rate",
            "How fast do the actors learn?",
            ("constant rate", {"training.actor_lr_end_factor": 1.0}),
            ("actor_lr 0.001", {"training.actor_lr": 1e-3}),
            ("actor_lr 0.0001", {"training.actor_lr": 1e-4}),
        ),
        _question(
            "epochs",
            "How often is a batch used?",
            ("2 epochs", {"training.epochs": 2}),
            ("8 epochs", {"training.epochs": 8}),
        ),
        _question(
            "batch",
            "How many steps per update, and per minibatch?",
            ("batch of 4,096", {"training.steps_per_update": 4096}),
            ("batch of 16,384", {"training.steps_per_update": 16384}),
            ("minibatch of 512", {"training.batch_size": 512}),
        ),
        _question(
            "entropy",
            "How much exploration?",
            ("entropy 0.003", {"training.entropy_coef": 0.003}),
            ("annealed to 0", {"training.entropy_end_factor": 0.0}),
        ),
        _question(
            "bars",
            "Accounts on the same bars, or more bars?",
            ("2 accounts per bar", {"training.accounts_per_bar": 2}),
            ("32 accounts per bar", {"training.accounts_per_bar": 32}),
        ),
        _question(
            "critic",
            "One critic, one per agent, one without the bars, or none? Agents one after the other?",
            ("no critic", {"model.critic": "none"}),
            ("independent critics", {"model.critic": "independent"}),
            ("critic without bars", {"model.critic": "account"}),
            ("sequential updates", {"training.updates": "sequential"}),
            markets=(*SINGLE_EDGE, "regime"),
        ),
        Question(
            "joint",
            "With sampled credit: three agents, or one with a joint action?",
            (
                Variant("every vote", {"training.credit": "all"}),
                Variant("one joint agent", {"model.actors": "joint", "training.credit": "all"}),
            ),
        ),
        Question(
            "overlap",
            "Sampling in turns with learning, or one update ahead of it?",
            (Variant("in turns", RUNNER), Variant("one update ahead", AHEAD)),
        ),
        Question(
            "sampled_overlap",
            "With sampled credit: sampling in turns with learning, or one update ahead of it?",
            (
                Variant("sampled credit, in turns", SAMPLED | RUNNER),
                Variant("sampled credit, one update ahead", SAMPLED | AHEAD),
            ),
        ),
        Question(
            COUPLED,
            "Four instruments share one place: does the critic know what the place is worth?",
            (
                Variant("one place", ONE_PLACE),
                Variant("each trains for itself", {}),
                Variant("no critic", {**ONE_PLACE, "model.critic": "none"}),
                Variant("independent critics", {**ONE_PLACE, "model.critic": "independent"}),
                Variant("critic without bars", {**ONE_PLACE, "model.critic": "account"}),
                Variant("sequential updates", {**ONE_PLACE, "training.updates": "sequential"}),
            ),
            (COUPLED,),
        ),
        Question("drawn", "How much on markets that nothing was tuned on?", (DEFAULT,), UNTUNED),
    )
}
"""By name, the most important ones first."""


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """Length of training and of the unseen market, equal for all runs of a table."""

    steps: int
    train_bars: int
    test_bars: int
    difficulty: float

    @classmethod
    def of(cls, result: dict[str, Any]) -> Size:
        """Return the size that a stored result was requested with."""
        return cls(**result["asked"], difficulty=result["difficulty"])

    @property
    def sessions(self) -> int:
        """Sessions of the unseen market that were requested."""
        return (self.test_bars - EMBARGO_BARS) // SESSION_BARS - 1

    def __str__(self) -> str:
        easiest = (
            f"{self.steps:,} steps, {self.train_bars:,} training bars, {self.sessions} sessions"
        )
        return f"{easiest}, difficulty {self.difficulty:g}" if self.difficulty else easiest


def unseen_bars(sessions: int) -> int:
    """Return the number of bars of an unseen market: its warm-up and so many whole sessions."""
    return EMBARGO_BARS + (sessions + 1) * SESSION_BARS


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training run of the study: everything that its result depends on except the code."""

    market: str
    seed: int
    variant: Variant
    steps: int
    train_bars: int
    test_bars: int
    difficulty: float

    @property
    def config(self) -> TacticalConfig:
        """The configuration: the defaults with the variant's changes, trained in this process."""
        steps = self.variant.changes.get("training.steps_per_update", TrainingConfig().update_steps)
        return configured(
            {
                "training.iterations": -(-self.steps // steps),
                "training.num_env_runners": 0,
                "training.num_learners": 0,
                "training.seed": self.seed,
                **self.variant.changes,
            }
        )

    @property
    def key(self) -> str:
        """The key under which the result is stored: a hash of everything it depends on."""
        asked = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name != "variant"
        }
        return content_hash({**asked, "config": to_dict(self.config)})[:16]

    @property
    def name(self) -> str:
        """The name of the run in messages."""
        return f"{self.market} seed {self.seed}, {self.variant.name}"


def configured(changes: Changes) -> TacticalConfig:
    """Return the default configuration with dotted keys changed.

    Raises:
        ConfigError: an unknown key or a value that breaks a rule.
    """
    plain = to_dict(TacticalConfig())
    rest = dict(changes)
    if "rewards" in rest:
        preset = to_dict(reward_preset(rest.pop("rewards")))
        # a preset sets the bonuses; how P&L is rewarded is another question
        plain["rewards"] |= {k: v for k, v in preset.items() if k not in ("pnl_scale", "timing")}
    for dotted, value in rest.items():
        *sections, key = dotted.split(".")
        place = functools.reduce(dict.__getitem__, sections, plain)
        place[key] = list(value) if isinstance(value, tuple) else value
    return from_dict(TacticalConfig, plain, "study")


def runs_of(question: Question, make: Callable[..., Run], seeds: tuple[int, ...]) -> list[Run]:
    """Return a question's runs, all variants of a market and seed next to each other.

    So a study that is interrupted has complete pairs to compare.
    """
    return [
        make(market=market, seed=seed, variant=variant)
        for seed in seeds
        for market in question.markets
        for variant in question.variants
    ]


def unique(runs: list[Run]) -> list[Run]:
    """Return each run once; the default runs belong to several questions."""
    return list({run.key: run for run in runs}.values())


def replaced(run: Run, **changes: Any) -> Run:
    """Return the run with fields replaced."""
    return dataclasses.replace(run, **changes)
