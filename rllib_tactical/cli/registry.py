"""The commands ``registry ...``, ``promote`` and ``rollback``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from rllib_tactical.artifacts.json_file import read_object
from rllib_tactical.bundle.registry import Promotion, Registry, user_name
from rllib_tactical.bundle.signature import make_key, read_public_keys
from rllib_tactical.cli.options import FILE
from rllib_tactical.cli.tables import print_table
from rllib_tactical.reporting.mlflow_registry import mirror_promotion
from rllib_tactical.reporting.mlflow_store import MlflowStore, logged, opened_store

_REGISTRY = click.option(
    "--registry",
    "folder",
    default="registry",
    show_default=True,
    type=FILE,
    metavar="DIR",
    help="Folder of the registry.",
)
_BY = click.option("--by", metavar="NAME", help="Who does it; the user's name when left out.")
_URL = click.option(
    "--url",
    metavar="URL",
    help="A running service that changes over first; it reads the registry's folder. Needs its "
    "admin token in TACTICAL_ADMIN_TOKEN, or the token in TACTICAL_TOKEN, where it has one.",
)
_MLFLOW = click.option(
    "--mlflow",
    metavar="URI",
    help="Also move the alias `champion` in the model registry of this MLflow store.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_SHOWN_ID = 12


@click.group("registry")
def registry_group() -> None:
    """Keep bundles with where they came from, and what was promoted by whom."""


@registry_group.command("add")
@click.argument("bundle", type=FILE)
@_REGISTRY
@click.option("--why", default="", help="For the record.")
@_BY
@click.option(
    "--metrics",
    type=FILE,
    metavar="FILE",
    help="JSON object to keep with it, such as kpis.json of a backtest.",
)
@click.option("--key", type=FILE, metavar="FILE", help="Private key to sign the bundle with.")
def add_command(
    bundle: Path, folder: Path, why: str, by: str | None, metrics: Path | None, key: Path | None
) -> None:
    """Copy BUNDLE into the registry and print its id."""
    known = None if metrics is None else {metrics.stem: read_object(metrics)}
    entry = Registry(folder).add(bundle, why=why, by=by, metrics=known, key=key)
    click.echo(entry.bundle_id)


@registry_group.command("list")
@_REGISTRY
@_JSON
def list_command(folder: Path, as_json: bool) -> None:
    """List the bundles, oldest first."""
    registry = Registry(folder)
    entries = registry.entries()
    chosen = {entry.symbol: registry.chosen(entry.symbol) for entry in entries}
    if as_json:
        rows = [
            {**asdict(entry), "chosen": chosen[entry.symbol] == entry.bundle_id}
            for entry in entries
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table()
    for name in ("bundle", "symbol", "parent", "added, UTC", "by", "why", "signed by", "chosen"):
        table.add_column(name)
    for entry in entries:
        signature = registry.signature(entry.bundle_id)
        table.add_row(
            entry.bundle_id[:_SHOWN_ID],
            escape(entry.symbol),
            (entry.parent or "-")[:_SHOWN_ID],
            entry.added_at[:16].replace("T", " "),
            escape(entry.by),
            escape(entry.why),
            "-" if signature is None else signature.key,
            "yes" if chosen[entry.symbol] == entry.bundle_id else "",
        )
    print_table(table)


@registry_group.command("show")
@click.argument("bundle_id", metavar="ID")
@_REGISTRY
@_JSON
def show_command(bundle_id: str, folder: Path, as_json: bool) -> None:
    """Show a bundle by the first digits of its ID: parents, metrics, promotions."""
    registry = Registry(folder)
    entry = registry.entry(bundle_id)
    promotions = [
        each for each in registry.promotions(entry.symbol) if each.bundle_id == entry.bundle_id
    ]
    signature = registry.signature(entry.bundle_id)
    shown: dict[str, Any] = {
        **asdict(entry),
        "path": str(registry.path(entry.bundle_id)),
        "lineage": registry.lineage(entry.bundle_id),
        "signed_by": None if signature is None else signature.key,
        "chosen": registry.chosen(entry.symbol) == entry.bundle_id,
        "promotions": [asdict(each) for each in promotions],
    }
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for name in ("bundle_id", "symbol", "path", "added_at", "by", "why", "signed_by", "chosen"):
        click.echo(f"{name:<10} {'-' if shown[name] in (None, '') else shown[name]}")
    click.echo(f"{'lineage':<10} {' <- '.join(each[:_SHOWN_ID] for each in shown['lineage'])}")
    click.echo(f"{'metrics':<10} {json.dumps(entry.metrics)}")
    for each in promotions:
        click.echo(_line(each))


@registry_group.command("verify")
@_REGISTRY
@click.option(
    "--keys",
    "places",
    type=FILE,
    multiple=True,
    metavar="FILE|DIR",
    help="Public keys, again for more: every chosen bundle must be signed by one of them.",
)
def verify_command(folder: Path, places: tuple[Path, ...]) -> int:
    """Check every bundle, signature and promotion; exit code 1 when something is wrong."""
    registry = Registry(folder)
    keys = {name: key for place in places for name, key in read_public_keys(place).items()}
    problems = registry.verify(keys if places else None)
    for problem in problems:
        click.echo(problem)
    if not problems:
        bundles, promotions = len(registry.entries()), len(registry.promotions())
        click.echo(f"{bundles} bundles and {promotions} promotions are what was written")
    return 1 if problems else 0


@registry_group.command("keygen")
@click.argument("out", type=FILE)
def keygen_command(out: Path) -> None:
    """Write a new Ed25519 private key to OUT, and its public key to OUT.pub."""
    click.echo(f"{make_key(out)}  {out}.pub")


@click.command("promote")
@click.argument("bundle_id", metavar="ID")
@_REGISTRY
@click.option("--why", required=True, help="For the record.")
@_BY
@_URL
@_MLFLOW
def promote_command(
    bundle_id: str, folder: Path, why: str, by: str | None, url: str | None, mlflow: str | None
) -> None:
    """Choose the bundle of the registry whose id begins with ID for its symbol."""
    registry, store = Registry(folder), opened_store(mlflow)
    full = registry.entry(bundle_id).bundle_id
    made = registry.promote(full, why=why, by=by, apply=changes_over(url, why, by))
    click.echo(_line(made))
    _mirror(store, registry, made)


@click.command("rollback")
@click.argument("symbol")
@_REGISTRY
@click.option("--why", required=True, help="For the record.")
@_BY
@_URL
@_MLFLOW
def rollback_command(
    symbol: str, folder: Path, why: str, by: str | None, url: str | None, mlflow: str | None
) -> None:
    """Choose the bundle that was chosen for SYMBOL before the present one."""
    registry, store = Registry(folder), opened_store(mlflow)
    made = registry.roll_back(symbol, why=why, by=by, apply=changes_over(url, why, by))
    click.echo(_line(made))
    _mirror(store, registry, made)


def _mirror(store: MlflowStore | None, registry: Registry, made: Promotion) -> None:
    def say(line: str) -> None:
        click.echo(line, err=True)

    logged(store, say, lambda given: mirror_promotion(given, registry, made))


def changes_over(url: str | None, why: str, by: str | None) -> Callable[[Path], None] | None:
    """Return what has the service at a URL change over to a bundle's folder; None without one.

    The service records why, and by whom; the user of this process when None.
    """
    if url is None:
        return None

    def change(path: Path) -> None:
        from serve.client import DecisionClient
        from serve.http.security import ADMIN_TOKEN_VARIABLE, TOKEN_VARIABLE

        token = os.environ.get(ADMIN_TOKEN_VARIABLE) or os.environ.get(TOKEN_VARIABLE)
        with DecisionClient(url, token) as client:
            client.load_model(str(path), note=why[:300], by=(by or user_name())[:300])

    return change


def _line(made: Promotion) -> str:
    previous = "" if made.previous is None else f", was {made.previous[:_SHOWN_ID]}"
    verb = "promoted" if made.action == "promote" else "rolled back to"
    return (
        f"{made.at[:19].replace('T', ' ')}  {made.symbol}: {verb} {made.bundle_id[:_SHOWN_ID]}"
        f"{previous}, by {made.by}: {made.why}"
    )
