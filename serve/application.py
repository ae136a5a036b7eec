"""The import path of Ray Serve configuration files: ``serve.application:build``."""

from serve.deploy.config_entry import build

__all__ = ["build"]
