"""Run the command line with ``python -m rllib_tactical``."""

from rllib_tactical.cli.main import run

if __name__ == "__main__":
    run()
