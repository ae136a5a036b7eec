"""What environments replay: one value that travels to every worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np

from rllib_tactical.config.loader import content_hash
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.coupled_replay import CoupledReplays
from rllib_tactical.domain.simulation.episodes import EpisodeConfig, Replay, ReplaySet
from rllib_tactical.domain.simulation.history import MarketHistories, MarketHistory, Split
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MarketPart:
    """One instrument's market history and the split of it that episodes are drawn from."""

    history: MarketHistory
    split: Split


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSpec:
    """Replays ready to be made: one part per instrument, and the rules.

    ``train_confidence`` is the confidence with which votes count when a step gives none.
    """

    parts: tuple[MarketPart, ...]
    rules: Rules
    rewards: RewardConfig
    episodes: EpisodeConfig
    train_confidence: float

    @classmethod
    def from_config(cls, config: TacticalConfig, parts: tuple[MarketPart, ...]) -> MarketSpec:
        """Return ``parts`` under the rules, rewards and episodes of a configuration."""
        return cls(
            parts=parts,
            rules=config.rules,
            rewards=config.rewards,
            episodes=config.training.episodes,
            train_confidence=config.training.train_confidence,
        )

    @property
    def histories(self) -> MarketHistories:
        """The market histories of all parts under one running bar number."""
        return MarketHistories(tuple(part.history for part in self.parts))

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of what is replayed: bars, sessions, synergies, instruments, splits.

        Features are not part of it: they follow from the bars.
        """
        digest = hashlib.sha256()
        for part in self.parts:
            history, synergy = part.history, part.history.synergy
            digest.update(content_hash(history.instrument).encode())
            digest.update(content_hash(part.split).encode())
            columns = [getattr(history.bars, field.name) for field in fields(history.bars)]
            columns += [getattr(history.sessions, field.name) for field in fields(history.sessions)]
            for column in (*columns, synergy.kind, synergy.direction):
                digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def replays(
        self, num_accounts: int, seed: int | None = None, group_size: int = 1
    ) -> list[Replay]:
        """Make one replay per part; groups of accounts are dealt out evenly.

        Replays whose accounts share places have one seed and as many accounts each.

        Raises:
            DataError: a split is too short for one episode.
            ConfigError: the accounts do not fill whole groups, or a part gets none, or fewer than
                another with which it shares places.
        """
        count = len(self.parts)
        coupled = self.episodes.positions is not None
        groups = num_accounts // group_size
        if num_accounts % group_size or groups < count:
            raise ConfigError(
                f"training.num_envs must be whole groups of accounts_per_bar ({group_size}), "
                f"at least one for each of the {count} instruments, found {num_accounts}"
            )
        if coupled and groups % count:
            raise ConfigError(
                "with episodes.positions training.num_envs must be a multiple of accounts_per_bar "
                f"x instruments, {group_size} x {count}, found {num_accounts}"
            )
        seeds = np.random.SeedSequence(seed).spawn(1 if coupled else count)
        return [
            Replay(
                part.history,
                part.split,
                self.rules,
                self.rewards,
                self.episodes,
                (groups // count + (k < groups % count)) * group_size,
                int(seeds[0 if coupled else k].generate_state(1)[0]),
                group_size,
            )
            for k, part in enumerate(self.parts)
        ]

    def replay_set(
        self, num_accounts: int, seed: int | None = None, group_size: int = 1
    ) -> ReplaySet:
        """Make the replays of all parts, which step together.

        Raises:
            DataError: as of ``replays``, or instruments that share places have not the same bars.
            ConfigError: as of ``replays``.
        """
        replays = self.replays(num_accounts, seed, group_size)
        places = self.episodes.positions
        return ReplaySet(replays) if places is None else CoupledReplays(replays, places)
