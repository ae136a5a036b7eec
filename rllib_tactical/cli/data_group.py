"""The ``tactical data`` group with all of its commands."""

from __future__ import annotations

from rllib_tactical.cli.data import data_group
from rllib_tactical.cli.data_fetch import fetch_command
from rllib_tactical.cli.data_list import formats_command, list_command
from rllib_tactical.cli.data_make import make_command

data_group.add_command(fetch_command)
data_group.add_command(make_command)
data_group.add_command(list_command)
data_group.add_command(formats_command)

__all__ = ["data_group"]
