"""What an output depends on, and the one rule by which settings are "the same".

Settings are compared after each old section was read by its model, so a setting that is newer than the output has its
default there. A whole section that only one of the two has is a difference: a pipeline that gains `choose:` does
something else, even with all defaults. Free settings, such as the number of steps, may differ without making it
another output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

LONGEST = 60  # characters of a value in a message
OLD_SECTION, NEW_SECTION = "gan", "generator"  # the name of the generator's section while `cgan` was the only kind


@dataclass(frozen=True)
class Identity:
    """The settings and the data that an output was made from.

    settings: by section. data: fingerprints and other plain values, by name. free: `section.key` of settings that do
    not count.
    """

    settings: Mapping[str, BaseModel] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    free: Collection[str] = ()

    def as_json(self) -> dict[str, Any]:
        """JSON-able, without the free settings: what is stored, and what `differences` compares with."""
        sections = {name: self._counted(name, section) for name, section in self.settings.items()}
        return {"settings": sections, "data": json.loads(json.dumps(dict(self.data)))}

    def differences(self, stored: Mapping[str, Any]) -> list[str]:
        """What is not as in `stored`, which `as_json` gave, in words such as "generator.loss: hinge, now fisher"."""
        old_settings, old_data = stored.get("settings"), stored.get("data")
        if not isinstance(old_settings, dict) or not isinstance(old_data, dict):
            return ["everything: the stored settings cannot be read"]
        old_settings = _renamed(old_settings)
        changed = [f"{name}: gone" for name in old_settings if name not in self.settings]
        for name, section in self.settings.items():
            if name in old_settings:
                changed += self._section_differences(name, section, old_settings[name])
            else:
                changed.append(f"{name}: not there before")
        changed += [f"{name}: not there before" for name in self.data if name not in old_data]
        changed += [f"{name}: gone" for name in old_data if name not in self.data]
        plain = json.loads(json.dumps(dict(self.data)))
        changed += [f"other {name}" for name in self.data if name in old_data and old_data[name] != plain[name]]
        return changed

    def _section_differences(self, name: str, section: BaseModel, stored: Any) -> list[str]:
        kind = getattr(section, "kind", None)
        before = stored.get("kind", kind) if isinstance(stored, dict) else kind
        if before != kind:  # the settings of two kinds have nothing to compare
            return [f"{name}.kind: {_short(before)}, now {_short(kind)}"]
        try:
            old = type(section).model_validate(stored)
        except ValidationError as error:
            keys = sorted({".".join(map(str, (name, *e["loc"]))) for e in error.errors(include_url=False)})
            return [f"{', '.join(keys)[:LONGEST]}: not known to this version, or no longer allowed"]
        return changes(self._counted(name, old), self._counted(name, section), name)

    def _counted(self, name: str, section: BaseModel) -> dict[str, Any]:
        dumped = section.model_dump(mode="json")
        return {key: value for key, value in dumped.items() if f"{name}.{key}" not in self.free}


def _renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The stored sections under the names of today."""
    old = settings.get(OLD_SECTION)
    if NEW_SECTION in settings or not isinstance(old, dict):
        return dict(settings)
    others = {name: section for name, section in settings.items() if name != OLD_SECTION}
    return {NEW_SECTION: {"kind": "cgan", **old}, **others}


def digest(stored: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that stand for `Identity.as_json`."""
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:16]


def changes(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> list[str]:
    """ "path.key: old value, now new value" for every value that differs, in nested mappings too."""
    found: list[str] = []
    for key in dict.fromkeys((*new, *old)):
        before, now, name = old.get(key), new.get(key), f"{path}.{key}"
        if isinstance(before, dict) and isinstance(now, dict):
            found += changes(before, now, name)
        elif before != now:
            found.append(f"{name}: {_short(before)}, now {_short(now)}")
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
