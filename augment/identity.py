"""The settings and data that an output depends on, and the one rule by which settings count as "the same".

Stored sections are validated by their models before the comparison, so a setting that was added after the output was
written has its default value there. A section that only one side has is a difference: a pipeline with `choose:` does
something else than one without, even if all its settings are defaults. Some settings, such as the number of steps, can
be ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from pydantic import BaseModel, ValidationError

from augment.words import listed, shortened

MAX_LENGTH = 60  # characters of a value or a key in a message
MAX_NAMES = 5  # of removed or added items in a message
OLD_SECTION, NEW_SECTION = "gan", "generator"  # outputs of old versions, which had only `cgan`, store it as "gan"


@dataclass(frozen=True)
class Identity:
    """The settings and the data that an output was computed from.

    settings: by section. data: fingerprints and other plain values, by name. ignored: the names `section.key` of
    settings that are not compared. details: plain values by name that follow from the data, and that say how the data
    differ; they are compared only if the data differ.
    """

    settings: Mapping[str, BaseModel] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    ignored: Collection[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON-serialisable form that is stored for `differences`, without the ignored settings."""
        sections = {name: self._compared(name, section) for name, section in self.settings.items()}
        plain = {"settings": sections, "data": self.data, **({"details": self.details} if self.details else {})}
        return dict(json.loads(json.dumps(plain, default=dict)))

    def differences(self, stored: Mapping[str, Any]) -> list[str]:
        """Describe each difference from `stored`, a result of `as_json`, like "generator.loss: hinge, now fisher"."""
        old_settings, old_data = stored.get("settings"), stored.get("data")
        if not isinstance(old_settings, dict) or not isinstance(old_data, dict):
            return ["everything: the stored settings cannot be read"]
        old_settings = _with_current_names(old_settings)
        found = [f"{name}: removed" for name in old_settings if name not in self.settings]
        for name, section in self.settings.items():
            if name in old_settings:
                found += self._section_differences(name, section, old_settings[name])
            else:
                found.append(f"{name}: new")
        found += [f"{name}: new" for name in self.data if name not in old_data]
        found += [f"{name}: removed" for name in old_data if name not in self.data]
        new_data = json.loads(json.dumps(dict(self.data)))
        others = [f"other {name}" for name in self.data if name in old_data and old_data[name] != new_data[name]]
        details = self._changed_details(stored.get("details")) if others else []
        return found + (details or others)

    def _changed_details(self, stored: Any) -> list[str]:
        old = stored if isinstance(stored, dict) else {}
        return [_change(name, old[name], new) for name, new in self.details.items() if old.get(name, new) != new]

    def _section_differences(self, name: str, section: BaseModel, stored: Any) -> list[str]:
        kind = getattr(section, "kind", None)
        old_kind = stored.get("kind", kind) if isinstance(stored, dict) else kind
        if old_kind != kind:  # settings of different kinds cannot be compared
            return [f"{name}.kind: {_text(old_kind)}, now {_text(kind)}"]
        try:
            old = type(section).model_validate(stored)
        except ValidationError as error:
            keys = sorted({".".join(map(str, (name, *e["loc"]))) for e in error.errors(include_url=False)})
            return [f"{_text(', '.join(keys))}: not known to this version, or no longer allowed"]
        return changes(self._compared(name, old), self._compared(name, section), name)

    def _compared(self, name: str, section: BaseModel) -> dict[str, Any]:
        dumped = section.model_dump(mode="json")
        return {key: value for key, value in dumped.items() if f"{name}.{key}" not in self.ignored}


def _with_current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the stored sections of old versions to the current names."""
    old = settings.get(OLD_SECTION)
    if NEW_SECTION in settings or not isinstance(old, dict):
        return dict(settings)
    others = {name: section for name, section in settings.items() if name != OLD_SECTION}
    return {NEW_SECTION: {"kind": "cgan", **old}, **others}


def digest(stored: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that identify a result of `Identity.as_json`."""
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:16]


def changes(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> list[str]:
    """Describe every value that differs as "path.key: old value, now new value".

    Nested mappings are compared value by value, and lists of mappings with a name item by item.
    """
    found: list[str] = []
    for key in dict.fromkeys((*new, *old)):
        old_value, new_value, name = old.get(key), new.get(key), f"{path}.{key}"
        if isinstance(old_value, dict) and isinstance(new_value, dict):
            found += changes(old_value, new_value, name)
        elif old_value != new_value:
            if _have_names(old_value) and _have_names(new_value):
                found += _item_changes(old_value, new_value, name)
            else:
                found.append(_change(name, old_value, new_value))
    return found


def _change(name: str, old: Any, new: Any) -> str:
    return f"{name}: {_text(old)}, now {_text(new)}"


def _have_names(items: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(items, list) and all(isinstance(item, dict) and "name" in item for item in items)


def _item_changes(old_items: Sequence[dict[str, Any]], new_items: Sequence[dict[str, Any]], path: str) -> list[str]:
    """Describe the items that only one of two lists has, and the changes within the others. Each item has a name."""
    old, new = ({item["name"]: item for item in items} for items in (old_items, new_items))
    removed, added = ([name for name in a if name not in b] for a, b in ((old, new), (new, old)))
    changed = {"without": removed, "now with": added}
    found = [
        f"{path}: {how} {listed([repr(_text(name)) for name in names], MAX_NAMES)}"
        for how, names in changed.items()
        if names
    ]
    for name in new:
        found += changes(old[name], new[name], f"{path}[{_text(name)}]") if name in old else []
    return found or [f"{path}: other order"]


def _text(value: Any) -> str:
    return shortened(str(value), MAX_LENGTH)
