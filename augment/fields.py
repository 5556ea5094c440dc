"""The base class of configs, and the field types that several configs share."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from augment.words import quoted

SEEDS = 2**32  # number of valid seeds: the range of numpy's RandomState, which scikit-learn and Optuna use
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
MAX_STEPS = 10**8 - 1  # the file names of checkpoints have eight digits
MAX_WEIGHT = 1e6
MAX_BATCH_SIZE = 2**16
MAX_LEARNING_RATE = 1.0  # Adam changes every weight by about the learning rate in each step
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
LearningRate = Annotated[float, Field(gt=0, le=MAX_LEARNING_RATE)]
Weight = Annotated[float, Field(gt=0, le=MAX_WEIGHT)]


class Settings(BaseModel):
    """Base class of the configs of generators and pipelines: frozen, without unknown keys, all numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def check_name(name: str, known: Mapping[str, object]) -> str:
    """Return `name` if it is a key of `known`, else raise `ValueError` that lists the keys, the most similar first."""
    if name not in known:
        similar = difflib.get_close_matches(name[:100], list(known), n=3, cutoff=0.6)
        names = [*similar, *(other for other in known if other not in similar)]
        raise ValueError(f"expected one of {', '.join(names)}, got {quoted(name)}")
    return name


@dataclass(frozen=True, eq=False)
class NameIn:
    """A validator of fields whose value must be a key of `known`, for example `Annotated[str, NameIn(LOSSES)]`.

    The JSON schema of such a field lists the keys, so that an editor can complete them.
    """

    known: Mapping[str, object]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        validate = partial(check_name, known=self.known)
        return core_schema.no_info_after_validator_function(validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self.known)}
