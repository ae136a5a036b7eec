"""Every command of the runbooks is run: on a service, bus, registry and state of a test's own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click
import httpx
import pytest

from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.bundle.registry import Registry
from rllib_tactical.bundle.signature import make_key
from rllib_tactical.cli.main import main, run
from rllib_tactical.data.files import write_bars
from serve.client.bus import BusPublisher
from tests.lifecycle.conftest import child_of
from tests.market import random_bars
from tests.ports import ports_of_serve
from tests.serve.bus.events import event
from tests.serve.http.test_listener import free_port
from tests.serve.process import replica_process
from tests.serve.state.stores import valkey_server
from tests.serve.writes import bars_body

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
SYSTEM = {"cp"}
"""Programs of the system in the runbooks."""

ANSWERS = {200, 409, 503}
"""Statuses of right commands: 409 and 503 say why it cannot be done now."""

STOPPED = ("cp ", "tactical state restore", "tactical state verify", "tactical state archive")
"""Beginnings of commands for a service that was stopped."""

STARTS = "tactical serve "
"""Beginning of commands that start the service."""

START_S = 120.0

TRAINS = "tactical adapt "
"""Beginning of the command that trains: it is run as far as to find no drift."""

DAYS_OF_TRAINING, DAY = 40, 288


def commands() -> Iterator[tuple[str, str]]:
    """Yield page and command: the lines of code of every page."""
    for page in sorted(FOLDER.glob("*.md")):
        for line in page.read_text(encoding="utf-8").splitlines():
            if re.match(r" {4,}\S", line):
                yield page.stem, line.strip()


OURS = sorted({command for _, command in commands() if not command.startswith("curl ")})


def parsed(words: list[str]) -> click.Context:
    """Return the context that click makes of a command line, without running it."""
    command: click.Command = main
    context = command.make_context("tactical", list(words), resilient_parsing=False)
    while isinstance(context.command, click.Group):
        group, rest = context.command, [*context._protected_args, *context.args]
        name, chosen, rest = group.resolve_command(context, rest)
        assert chosen is not None
        context = chosen.make_context(name, rest, parent=context)
    return context


@dataclass(frozen=True)
class Desk:
    """Where an operator works: the folder that the commands name, and what is replaced in them."""

    folder: Path
    names: dict[str, str]

    def text(self, command: str) -> str:
        for printed, own in self.names.items():
            command = command.replace(printed, own)
        return command

    def run(self, command: str) -> None:
        """Run a command of a page in the folder; it has to end well."""
        text = self.text(command)
        if not text.startswith("tactical "):
            subprocess.run(["sh", "-c", text], cwd=self.folder, check=True, timeout=60)
            return
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with pytest.raises(SystemExit) as end:
                run(shlex.split(text)[1:])
        finally:
            os.chdir(before)
        assert not end.value.code, command


@pytest.fixture(scope="module")
def desk(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    family = [bundle]
    for number in (2, 3, 4):
        family.append(child_of(family[-1], folder / f"bundle-{number}", number))
    make_key(folder / "release.key")
    registry = Registry(folder / "registry")
    for each in family:
        registry.add(each.path, key=folder / "release.key")
    for each in family[:3]:
        registry.promote(each.bundle_id, why="it earns more")
    shutil.copytree(bundle.path, folder / "bundle")
    shutil.copytree(bundle.path, folder / "champion")
    shutil.copytree(family[3].path, folder / "promoted")
    bars = random_bars((DAYS_OF_TRAINING + 12) * DAY, seed=5)
    write_bars(bars[: DAYS_OF_TRAINING * DAY], folder / "training.csv")
    write_bars(bars[DAYS_OF_TRAINING * DAY :], folder / "recent.csv")
    (folder / "service-state").symlink_to("state")
    with valkey_server(folder / "server") as (bus, _):
        with BusPublisher(bus) as publisher:
            publisher.synergy(event("syn-1", 5))
        yield Desk(
            folder,
            {
                "redis://127.0.0.1:6379/0": bus,
                "1a2b3c4d": family[3].bundle_id[:8],
                "2026-01-05": "1970-01-01",
            },
        )


def test_there_are_commands_in_every_alerts_page() -> None:
    pages = {page for page, _ in commands()}
    assert pages == {page.stem for page in FOLDER.glob("*.md")} - {"index"}


@pytest.mark.parametrize("command", OURS)
def test_our_commands_take_what_the_pages_give_them(command: str) -> None:
    program, *words = shlex.split(command)
    assert program in {"tactical", *SYSTEM}
    if program == "tactical":
        context = parsed(words)
        assert context.command.callback is not None


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(click.UsageError, match="No such option"):
        parsed(["state", "show", "--where", "x"])


@pytest.mark.serve
@pytest.mark.slow
def test_every_command_of_the_pages_is_run(desk: Desk) -> None:
    """Those for a running service while one runs, then the others, on the state that it left."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    keep_profile(desk, desk.folder / "bundle", desk.folder / "profile.json")
    service = {"live_bars": False, "max_bar_age_s": 1e6, "inference_timeout_ms": 2e4}
    ran, port = set(), free_port()
    first = load_bundle(desk.folder / "bundle")
    with replica_process(first, desk.folder, port, **service) as (client, _):
        assert client.post("/bars", json=bars_body(0, 400)).status_code == 200
        address = f"127.0.0.1:{port}"
        own = {"localhost:8001": address, "127.0.0.1:8001": address}
        here = replace(desk, names=desk.names | own)
        for page, command in commands():
            if command.startswith("curl "):
                answered(here.text(command), f"{page}: {command}")
            elif command in ran or command.startswith((*STOPPED, STARTS)):
                continue
            elif command.startswith(TRAINS):
                registry = Registry(desk.folder / "registry")
                champion = registry.chosen("TEST")
                assert champion is not None
                keep_profile(desk, registry.path(champion), registry.profile_path(champion))
                here.run(f"{command} --when drift")
            else:
                here.run(command)
            ran.add(command)
        assert client.get("/health").status_code == httpx.codes.OK
    (desk.folder / "service-state").unlink()
    (desk.folder / "state").rename(desk.folder / "service-state")
    for beginning in STOPPED:
        for command in OURS:
            if command.startswith(beginning):
                desk.run(command)
                ran.add(command)
    starts = [c for c in OURS if c.startswith(STARTS)]
    assert {c for _, c in commands()} - ran == set(starts)
    start_with_all_options(desk, starts)


def start_with_all_options(desk: Desk, starts: list[str]) -> None:
    """Start the service once, on the state that was restored, with what the pages' starts name."""
    port = free_port()
    words: list[str] = []
    for command in starts:
        options = shlex.split(command)[2:]
        pairs = zip(options[::2], options[1::2], strict=True)
        words += [w for pair in pairs if pair[0] not in words for w in pair]
    words[words.index("--port") + 1] = str(port)
    log = desk.folder / "serve.log"
    with ports_of_serve(), log.open("w") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", "rllib_tactical", "serve", *words],
            cwd=desk.folder,
            env={**os.environ, "PYTHONPATH": str(FOLDER.parents[1])},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                deadline = time.monotonic() + START_S
                # before it has said where it listens, an interrupt ends the start
                while f"127.0.0.1:{port}" not in log.read_text() or not lives(client):
                    assert running.poll() is None and time.monotonic() < deadline, log.read_text()
                    time.sleep(0.2)
                # a restart goes on with the bundle that was chosen last
                chosen = load_bundle(desk.folder / "promoted").bundle_id
                assert client.get("/model").json()["bundle_id"] == chosen
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(timeout=60)
    assert running.returncode == 0, log.read_text()


def lives(client: httpx.Client) -> bool:
    with suppress(httpx.HTTPError):
        return client.get("/live").status_code == httpx.codes.OK
    return False


def keep_profile(desk: Desk, path: Path, profile: Path) -> None:
    profile.parent.mkdir(exist_ok=True)
    desk.run(f"tactical drift --bundle {path} --reference training.csv --save-profile {profile}")


def answered(command: str, where: str) -> None:
    """Run a request as it is printed; it has to be understood."""
    more = "--noproxy '*' -w '\\n%{http_code}' "
    done = subprocess.run(
        ["sh", "-c", command.replace("curl ", f"curl {more}", 1)],
        env={"PATH": "/usr/bin:/bin", "TACTICAL_TOKEN": "", "TACTICAL_ADMIN_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    assert int(status) in ANSWERS, f"{where}: {body}"
