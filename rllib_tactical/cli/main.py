"""The command line: parse, call, print. Every command is a module of this package."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import Any

import click

from rllib_tactical import __version__
from rllib_tactical.errors import TacticalError, UsageError

_COMMANDS = {
    "demo": (
        "rllib_tactical.cli.demo",
        "demo_command",
        "The main job, small, from bars to a decision.",
    ),
    "data": (
        "rllib_tactical.cli.data_group",
        "data_group",
        "List, check, import, fetch and make market data.",
    ),
    "instruments": (
        "rllib_tactical.cli.instruments",
        "instruments_group",
        "List, show and check instruments.",
    ),
    "features": (
        "rllib_tactical.cli.features",
        "features_command",
        "Write raw features to a file.",
    ),
    "train": ("rllib_tactical.cli.train", "train_command", "Train the three agents (MAPPO)."),
    "tune": ("rllib_tactical.cli.tune", "tune_command", "Sweep hyper-parameters with Ray Tune."),
    "export": ("rllib_tactical.cli.export", "export_command", "Make a policy bundle of a run."),
    "backtest": (
        "rllib_tactical.cli.backtest",
        "backtest_command",
        "Trade bars with a bundle or a built-in policy.",
    ),
    "evaluate": (
        "rllib_tactical.cli.evaluate",
        "evaluate_command",
        "Walk forward: train, trade what follows, assess.",
    ),
    "selftest": (
        "rllib_tactical.cli.selftest",
        "selftest_command",
        "Test a bundle for the ways in which backtests lie.",
    ),
    "drift": (
        "rllib_tactical.cli.drift",
        "drift_command",
        "Say how far the market is from a bundle's training.",
    ),
    "adapt": (
        "rllib_tactical.cli.adapt",
        "adapt_command",
        "Train the champion further on recent bars, gate it, promote it.",
    ),
    "registry": (
        "rllib_tactical.cli.registry",
        "registry_group",
        "Keep bundles, their parents, signatures and promotions.",
    ),
    "promote": (
        "rllib_tactical.cli.registry",
        "promote_command",
        "Choose a bundle of the registry for its symbol.",
    ),
    "rollback": (
        "rllib_tactical.cli.registry",
        "rollback_command",
        "Choose the bundle that was chosen before.",
    ),
    "runs": (
        "rllib_tactical.cli.runs",
        "runs_group",
        "List and compare runs, sweeps and backtests.",
    ),
    "serve": ("rllib_tactical.cli.serve", "serve_command", "Answer POST /decide over HTTP."),
    "paper": (
        "rllib_tactical.cli.paper",
        "paper_command",
        "Trade bars on paper with the service.",
    ),
    "state": (
        "rllib_tactical.cli.state",
        "state_group",
        "Show, verify, restore and archive the service's state.",
    ),
    "bus": (
        "rllib_tactical.cli.bus",
        "bus_group",
        "Send events to the service and see its answers.",
    ),
    "notify": (
        "rllib_tactical.cli.notify",
        "notify_command",
        "Send alerts to people, for Alertmanager.",
    ),
    "decisions": (
        "rllib_tactical.cli.decisions",
        "decisions_command",
        "List the decisions that the service has answered.",
    ),
    "replay": (
        "rllib_tactical.cli.decisions",
        "replay_command",
        "Recompute the service's decisions, bit for bit.",
    ),
    "explain": (
        "rllib_tactical.cli.decisions",
        "explain_command",
        "Explain one decision of the service.",
    ),
    "bench": (
        "rllib_tactical.cli.bench",
        "bench_command",
        "Measure speed and memory against targets and others.",
    ),
}
"""Name: module, attribute and short help. Modules are imported when their command is used, so that
``tactical --help`` and light commands need not wait for Ray and PyTorch."""

_EXTRAS = {
    "demo": ("serve", "train"),
    "data": ("data",),
    "instruments": ("data",),
    "features": ("data",),
    "train": ("train",),
    "tune": ("train",),
    "export": ("train",),
    "backtest": ("report",),
    "evaluate": ("train",),
    "selftest": ("report",),
    "drift": ("report",),
    "adapt": ("registry", "train"),
    "registry": ("registry",),
    "promote": ("registry",),
    "rollback": ("registry",),
    "runs": ("train",),
    "serve": ("serve",),
    "paper": ("report",),
    "state": ("serve",),
    "bus": ("redis",),
    "notify": ("notify",),
    "decisions": ("serve",),
    "replay": ("serve",),
    "explain": ("serve",),
    "bench": ("serve", "train"),
}
"""Name: the extras of the distribution that install what the command imports."""

_REQUESTED = f"{__name__}.requested"  # where a context keeps the command's name
_OWN_PACKAGES = ("rllib_tactical", "envs", "serve")


class LazyGroup(click.Group):
    """A click group that imports a command's module when the command is asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; name the extra to install when it needs a package that is absent.

        Raises:
            UsageError: a third-party package that the command imports is not installed.
        """
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", *_OWN_PACKAGES):
                raise
            command = ctx.meta[_REQUESTED]
            extras = _EXTRAS[command]
            noun = "extras" if len(extras) > 1 else "extra"
            raise UsageError(
                f"`tactical {command}` needs the {noun} {' and '.join(map(repr, extras))} "
                f"({package} is not installed): pip install 'rllib-tactical[{','.join(extras)}]'"
            ) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of the usual workflow."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None when there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        ctx.meta[_REQUESTED] = cmd_name
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their short help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tactical")
def main() -> None:
    """Train, evaluate and serve three cooperating trading agents on 5-minute bars."""


def run(arguments: list[str] | None = None) -> Any:
    """Run the command line and exit: 0 ok, 1 refused or findings, 2 usage or unreadable input."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before any numerical library is imported
    # warnings of third-party packages are for developers; tests turn them into errors
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        result = main.main(args=arguments, standalone_mode=False)
    except TacticalError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        # a full disk or a folder without write permission is the user's to mend, not a bug's trace
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}", err=True)
        sys.exit(2)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    run()
