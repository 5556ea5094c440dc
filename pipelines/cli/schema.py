"""`augment schema pipeline|results`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def schema(
    document: Annotated[
        Literal["pipeline", "results"],
        typer.Argument(help="pipeline: a pipeline's YAML file. results: results.json."),
    ],
) -> None:
    """Print a JSON Schema, with which editors complete pipelines and programs check results.json."""
    import json

    from pipelines.json_schemas import json_schema

    typer.echo(json.dumps(json_schema(document), indent=2))
