from __future__ import annotations

import pytest
from ray.tune.search import sample

from rllib_tactical.errors import ConfigError
from rllib_tactical.sweep.space import Domain, Space
from tests.sweep.conftest import LR, parse

CHOICES = Domain("model.hidden_sizes", "choice", ([8], [16, 8]))
WHOLE = Domain("training.epochs", "integer", (1, 4))
RATE = Domain("training.actor_lr", "log_uniform", (0.0001, 0.001))


def test_a_whole_number_is_drawn_up_to_its_upper_end() -> None:
    domain = WHOLE.sampled()
    assert isinstance(domain, sample.Integer)
    assert (domain.lower, domain.upper) == (1, 5)  # Ray Tune leaves the upper end out
    drawn = RATE.sampled()
    assert isinstance(drawn, sample.Float)
    assert (drawn.lower, drawn.upper) == (0.0001, 0.001)
    assert isinstance(drawn.get_sampler(), sample.LogUniform)


def test_lists_travel_through_a_search_as_text() -> None:
    assert CHOICES.codes == ["[8]", "[16, 8]"]
    assert CHOICES.sampled().categories == CHOICES.codes
    assert CHOICES.decode("[16, 8]") == [16, 8]
    with pytest.raises(ConfigError, match=r"space\.model\.hidden_sizes: .* none of its choices"):
        CHOICES.decode("[4]")


def test_numbers_are_decoded_to_the_type_of_the_setting() -> None:
    assert (WHOLE.decode(3.0), type(WHOLE.decode(3.0))) == (3, int)
    assert (RATE.decode(1), type(RATE.decode(1))) == (1.0, float)


def test_a_grid_tries_every_combination_of_choices() -> None:
    space = Space((CHOICES, Domain("training.clip_ratio", "choice", (0.1, 0.2, 0.3))))
    assert space.grid_size == 6
    assert space.tune_space(grid=True) == {
        "model.hidden_sizes": {"grid_search": ["[8]", "[16, 8]"]},
        "training.clip_ratio": {"grid_search": [0.1, 0.2, 0.3]},
    }


def test_a_population_draws_choices_from_a_list_and_the_rest_from_a_range() -> None:
    mutations = Space((CHOICES, WHOLE)).mutations()
    assert mutations["model.hidden_sizes"] == ["[8]", "[16, 8]"]
    assert isinstance(mutations["training.epochs"], sample.Integer)


def test_names_of_version_1_draw_values_for_the_settings_of_today() -> None:
    space = Space.parse({"training.clip": {"choice": [0.1, 0.3]}}, version1=True)
    base = parse().config
    assert space.applied(base, {"training.clip": 0.3}).training.clip_ratio == 0.3
    with pytest.raises(ConfigError, match=r"training\.clip is not a key"):
        Space.parse({"training.clip": {"choice": [0.1]}}).applied(base, {"training.clip": 0.1})


def test_values_reach_the_configuration() -> None:
    spec = parse(
        space={
            "rewards": {"choice": ["full", "pnl_only"]},
            "rewards.synergy_bonus": {"uniform": [0.0, 0.2]},
            "model.hidden_sizes": {"choice": [[8], [16, 8]]},
            "training.epochs": {"integer": [1, 4]},
        }
    )
    drawn = {
        "rewards": "pnl_only",
        "rewards.synergy_bonus": 0.1,
        "model.hidden_sizes": "[16, 8]",
        "training.epochs": 3,
    }
    config = spec.domains.applied(spec.config, drawn)
    assert config.model.hidden_sizes == (16, 8)
    assert config.training.epochs == 3
    # a weight named beside a preset counts
    assert (config.rewards.synergy_bonus, config.rewards.execution_bonus) == (0.1, 0.0)
    assert config.risk == spec.config.risk


def test_changed_values_stay_within_their_domains() -> None:
    spec = parse(space=LR | {"training.epochs": {"integer": [1, 4]}})
    clip = spec.domains.clip()
    assert clip({"training.actor_lr": 1.0, "training.epochs": 9, "other": 1}) == {
        "training.actor_lr": 0.001,
        "training.epochs": 4,
        "other": 1,
    }
