"""Scalars are those of YAML 1.2."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.config.yaml12 import parse_yaml, read_yaml
from rllib_tactical.errors import UnreadableError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("3E-4", 3e-4),
        ("1e3", 1000.0),
        ("+1.e+3", 1000.0),
        (".5", 0.5),
        ("-.5e-1", -0.05),
        ("0.0001", 0.0001),
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("0x1F", 31),
        ("0o17", 15),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        # text, where YAML 1.1 has booleans, octal and sexagesimal numbers, dates
        ("ON", "ON"),
        ("off", "off"),
        ("yes", "yes"),
        ("n", "n"),
        ("000660", "000660"),
        ("017", "017"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        (".", "."),
        ("e4", "e4"),
        ("'1e-4'", "1e-4"),
        ('"ON"', "ON"),
        ("'660'", "660"),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    found = parse_yaml(text, "test")
    assert found == value
    assert type(found) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(parse_yaml(".nan", "test"))


@given(st.integers())
def test_every_whole_number_is_read(value: int) -> None:
    found = parse_yaml(f"a: {value}", "test")["a"]
    assert found == value
    assert type(found) is int


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_read_as_python_and_json_write_it(value: float) -> None:
    for text in (repr(value), f"{value:.17e}", f"{value:.17E}", f"{value:+.17e}"):
        found = parse_yaml(f"[{text}]", "test")[0]
        assert found == value
        assert type(found) is float


@given(st.from_regex(r"[-+]?[0-9.eE+-]{1,8}", fullmatch=True))
def test_what_python_does_not_take_for_a_number_is_text(text: str) -> None:
    found = parse_yaml(f"a: {text}", "test")["a"] if text not in ("-", "---", "...") else text
    if re.fullmatch(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        assert found == float(text)
    else:
        assert found == text


TEXT = st.text(st.characters(max_codepoint=0xD7FF))
KEYS = st.text(
    st.characters(max_codepoint=0xD7FF), max_size=100
)  # at most 1,024 characters in YAML
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT


@given(
    st.recursive(
        LEAVES.filter(lambda value: value not in (math.inf, -math.inf)),
        lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
        max_leaves=9,
    )
)
def test_json_is_read_as_it_is(value: Any) -> None:
    """By version 1.2 of YAML, JSON is YAML."""
    assert parse_yaml(json.dumps(value), "test") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}", "key 'c' appears more than once, line 2"),
        ("a: 1\na: 1", "key 'a' appears more than once, line 1"),
        ("a: [1, 2", "not valid YAML: .* line 1"),
        ("a: b: c", "mapping values are not allowed here, line 1"),
        ("? [a]\n: 1", "not valid YAML"),
        ("a: *b", "not valid YAML: found undefined alias"),
        ("a: !!python/object:os.system x", "not valid YAML: could not determine a constructor"),
        ("a: !!int x", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UnreadableError, match=f"^test: .*{message}") as caught:
        parse_yaml(text, "test")
    assert "\n" not in str(caught.value)


def test_a_mapping_may_take_over_another_one() -> None:
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", "test")["b"] == {"x": 1, "y": 3}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "bytes.yaml"):
        with pytest.raises(UnreadableError, match="cannot be read"):
            read_yaml(path)
