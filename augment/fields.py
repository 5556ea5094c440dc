"""What configs are made of: their base class, and the types of fields that several of them share."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from augment.words import quoted

SEEDS = 2**32  # how many there are: as many as numpy's RandomState takes, which scikit-learn and Optuna use
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
MOST_STEPS = 10**8 - 1  # the file names of checkpoints have eight digits
LARGEST_WEIGHT = 1e6
LARGEST_BATCH = 2**16
LARGEST_RATE = 1.0  # of learning; Adam moves every weight by about as much in a step
Interval = Annotated[int, Field(ge=1, le=MOST_STEPS)]  # steps
Rate = Annotated[float, Field(gt=0, le=LARGEST_RATE)]
Weight = Annotated[float, Field(gt=0, le=LARGEST_WEIGHT)]


class Settings(BaseModel):
    """The base of all configs: frozen, unknown keys are refused, and numbers have to be finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def one_of(value: str, known: Mapping[str, object]) -> str:
    """`value` if it is among `known`, else `ValueError` that lists them, the nearest names first."""
    if value not in known:
        near = difflib.get_close_matches(value[:100], list(known), n=3, cutoff=0.6)
        names = [*near, *(name for name in known if name not in near)]
        raise ValueError(f"expected one of {', '.join(names)}, got {quoted(value)}")
    return value


def known(names: Mapping[str, object]) -> AfterValidator:
    """For `Annotated[str, known(NAMES)]`: a field whose value has to be among the keys of `names`."""
    return AfterValidator(partial(one_of, known=names))
