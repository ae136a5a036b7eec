"""Configuration: frozen sections, one YAML file, one place for defaults."""

from rllib_tactical.config.loader import load_config
from rllib_tactical.config.schema import TacticalConfig

__all__ = ["TacticalConfig", "load_config"]
