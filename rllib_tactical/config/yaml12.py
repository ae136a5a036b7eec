"""Read YAML by the rules of version 1.2, strictly.

PyYAML reads by version 1.1, where ``1e-4`` is text, ``ON`` is true and ``000660`` is octal. By the
core schema of version 1.2 numbers are what they look like, and only true and false are booleans.
Beyond it, digits that begin with a zero are text, because they are a symbol and no number; and a
key given twice is an error, where YAML would silently keep the last.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from rllib_tactical.errors import UnreadableError


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of version 1.2 and without repeated keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key[1]!r} appears more than once", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _whole(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0 if text[:2] in ("0x", "0o") else 10)


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(
        loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan")
    )


_CORE = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
}
"""What plain scalars are: a pattern, and the characters that they begin with."""

for _tag, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(rf"^(?:{_pattern})$"),
        ["" if character == "\0" else character for character in _first],
    )
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def parse_yaml(text: str, source: str) -> Any:
    """Return the values of a YAML document.

    Raises:
        UnreadableError: it is not YAML, or a key is given twice; the message says on which line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f", line {mark.line + 1}"
        raise UnreadableError(f"{source}: not valid YAML: {error.problem}{where}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UnreadableError(f"{source}: not valid YAML: {reason}") from error


def read_yaml(path: Path) -> Any:
    """Return the values of a YAML file.

    Raises:
        UnreadableError: the file cannot be read, or as of ``parse_yaml``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableError(f"{path}: cannot be read: {reason}") from error
    return parse_yaml(text, str(path))
