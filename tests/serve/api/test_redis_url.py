"""Addresses of servers."""

from __future__ import annotations

from serve.api.redis_url import is_redis, split_name, without_password


def test_a_folder_is_no_server() -> None:
    assert [is_redis(where) for where in ("redis://h", "rediss://h", "unix:///s", "state")] == [
        True,
        True,
        True,
        False,
    ]


def test_a_name_follows_the_address() -> None:
    assert split_name("redis://host/0#TEST") == ("redis://host/0", "TEST")
    assert split_name("redis://host/0") == ("redis://host/0", "")


def test_messages_do_not_show_a_password() -> None:
    assert without_password("redis://:secret@host:1/0") == "redis://host:1/0"
    assert without_password("unix:///socket") == "unix:///socket"
