"""The settings of a generator of any kind, in a pipeline definition or alone in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import BeforeValidator, Field

from augment.fields import Settings, check_name
from augment.generators.base import GeneratorConfig
from augment.generators.registry import DEFAULT_KIND, GENERATORS


def _with_kind(value: object) -> object:
    """Return the settings of a generator with `kind`, given the name of the kind alone or settings without it."""
    settings = {"kind": value} if isinstance(value, str) else value
    if not isinstance(settings, dict):
        return settings
    kind = check_name(str(settings.get("kind", DEFAULT_KIND)), GENERATORS)
    for key in settings.keys() - GENERATORS[kind].config.model_fields.keys():
        others = [name for name, other in GENERATORS.items() if key in other.config.model_fields]
        if others:
            raise ValueError(f"{key} is a setting of {' and '.join(others)}, not of {kind}")
    return {**settings, "kind": kind}


if TYPE_CHECKING:
    AnyGenerator = GeneratorConfig
else:
    _KINDS = Union[tuple(kind.config for kind in GENERATORS.values())]  # noqa: UP007 (known only at run time)
    AnyGenerator = Annotated[_KINDS, Field(discriminator="kind"), BeforeValidator(_with_kind)]


class GeneratorSection(Settings):
    """The settings of a generator without a pipeline, for `--config` files and for command-line options."""

    generator: AnyGenerator
