"""The table that routes, document, client and start message are made from."""

from __future__ import annotations

import pytest

from serve.api.operations import (
    DECIDE,
    HEALTH,
    OPEN_PATHS,
    OPENAPI,
    OPERATIONS,
    OVERRIDE,
    PAGE,
    PAGE_FILE,
    PERFORMANCE,
    READY,
    Operation,
    paths_by_method,
)


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (DECIDE, "post_decide"),
        (OVERRIDE, "post_admin_override"),
        (OPENAPI, "get_openapi_json"),
        (PAGE, "get_page"),
        (PAGE_FILE, "get_page_file"),
    ],
)
def test_a_generated_client_names_its_functions_after_method_and_path(
    operation: Operation[object], name: str
) -> None:
    assert operation.name == name
    assert len({each.name for each in OPERATIONS}) == len(OPERATIONS)


def test_refusals_of_every_operation_come_on_top_of_its_own() -> None:
    assert HEALTH.refusals(token=True) == HEALTH.refusals(token=False) == (404, 405, 422, 500)
    assert READY.refusals(token=True) == (404, 405, 500, 503)
    # with a token it is a wrong one that is refused, without one a web page
    assert PERFORMANCE.refusals(token=True) == (401, 404, 405, 422, 500, 503)
    assert PERFORMANCE.refusals(token=False) == (403, 404, 405, 422, 500, 503)


def test_what_reads_or_changes_trading_is_not_open() -> None:
    page = {"/", *PAGE_FILE.paths}
    assert {"/health", "/live", "/ready", "/metrics"} | page == OPEN_PATHS
    for operation in OPERATIONS:
        assert not (operation.is_open and operation.request is not None)


def test_every_path_stands_under_its_method_once() -> None:
    found = paths_by_method()
    assert list(found) == ["POST", "GET", "WS"]
    assert sorted(found["POST"] + found["GET"]) == sorted(each.path for each in OPERATIONS)
    assert found["WS"] == ["/ws"]
