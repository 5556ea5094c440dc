"""Read YAML at a bounded cost, with a one-sentence error message. All YAML of this project is read here.

Aliases are refused, because nine lines of them can expand to a billion values. Text that is too long or nested too
deeply is refused as well, and so are invalid values such as the date 2020-13-45, and a key that is given twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from augment.errors import ConfigError
from augment.files import describe_irregular
from augment.words import quoted, shortened

MAX_LENGTH, MAX_DEPTH = 200_000, 40  # characters; levels


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark: Any = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="found an alias; write its value out", problem_mark=mark)
        if self.depth == MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"found more than {MAX_DEPTH} levels", problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"found the key {quoted(key.value)} a second time"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # the constructors of numbers, dates, booleans and bytes raise many types
            problem, mark = f"{quoted(node.value)} cannot be read as {node.tag.rpartition(':')[2]}", node.start_mark
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark) from error


def parse_value(text: str, where: str) -> Any:
    """Return the value that `text` represents. Raises `ConfigError` that begins with `where`."""
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"{where} is too long: it has more than {MAX_LENGTH:,} characters")
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {shortened(' '.join(str(error).split()), 300)}") from error


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    """Return the keys and values in `text`. Raises `ConfigError` that begins with `where`."""
    tree = parse_value(text, where)
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: expected keys and values, got {type(tree).__name__}")
    if invalid := [key for key in tree if not isinstance(key, str)]:
        raise ConfigError(f"{where}: expected names as keys, got {quoted(invalid[0])}")
    return tree


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the keys and values in a YAML file. Raises `ConfigError` if the file cannot be read."""
    try:
        if kind := describe_irregular(path):
            raise ConfigError(f"{path} cannot be read as a YAML file: it is {kind}")
        with path.open("rb") as file:
            text = file.read(4 * MAX_LENGTH + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a YAML file: {shortened(str(error), 300)}") from error
    return parse_mapping(text, str(path))
