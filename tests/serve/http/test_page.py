"""The files of the page, their headers, and who may ask what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.override import Control
from serve.api.operations import PAGE_FILE
from serve.http.page import POLICY
from tests.serve.dashboard.scene import ORDERS, READS, TOKENS
from tests.serve.local import Cluster, running


def with_page(
    bundle: Bundle, folder: Path, work: Callable[[Cluster], Awaitable[None]], **settings: Any
) -> None:
    async def run() -> None:
        async with running(bundle, folder, **settings) as cluster:
            await work(cluster)

    asyncio.run(run())


def test_the_page_is_small_and_loads_nothing_from_anybody_else(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        sizes = 0
        for path in ("/", *PAGE_FILE.paths):
            answer = await cluster.get(path)
            assert answer.status_code == 200
            assert answer.headers["content-security-policy"] == POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
            sizes += len(answer.content)
            again = await cluster.clients[0].get(
                path, headers={"if-none-match": answer.headers["etag"]}
            )
            assert (again.status_code, again.content) == (304, b"")
        assert sizes < 300_000
        assert "unsafe" not in POLICY
        assert (await cluster.get("/page/..%2fsecrets")).status_code == 404
        assert (await cluster.get("/page/nothing.js")).status_code == 404

    with_page(bundle, tmp_path, work)


def test_the_parts_of_the_page_have_no_script_or_style_inside(project_root: Path) -> None:
    text = (project_root / "serve/dashboard/static/index.html").read_text("utf-8")
    for part in ("<style", " style=", " onclick=", "javascript:", "http://", "//cdn"):
        assert part not in text
    assert text.count("<script") == text.count('<script type="module" src="page/')


def test_every_file_of_the_page_is_listed(project_root: Path) -> None:
    folder = project_root / "serve" / "dashboard" / "static"
    found = {path.name for path in folder.iterdir()} - {"index.html"}
    assert PAGE_FILE.part is not None
    assert found == set(PAGE_FILE.part.names)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_give_no_orders_even_with_the_token(
    bundle: Bundle, tmp_path: Path, site: str
) -> None:
    async def work(cluster: Cluster) -> None:
        async def ordered(**headers: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {ORDERS}", **headers}
            body = {"action": "flatten"}
            return await cluster.clients[0].post("/admin/override", json=body, headers=headers)

        refused = await ordered(**{"sec-fetch-site": site})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_page")
        assert cluster.machine().of().control is Control.NONE
        assert (await ordered(**{"sec-fetch-site": "same-origin"})).status_code == 200
        assert cluster.machine().of().control is Control.FLATTEN

    with_page(bundle, tmp_path, work, **TOKENS)


def test_what_the_page_shows_needs_a_token_and_the_page_itself_none(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        for path in ("/view", "/events", "/day", "/explain", "/admin/audit"):
            assert (await cluster.get(path)).status_code == 401
        assert (await cluster.get("/")).status_code == 200
        headers = {"authorization": f"Bearer {READS}"}
        assert (await cluster.clients[0].get("/view", headers=headers)).status_code == 200

    with_page(bundle, tmp_path, work, **TOKENS)
