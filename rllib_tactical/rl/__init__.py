"""MAPPO on RLlib's new API stack: three actors, one centralized critic, batched sampling."""
