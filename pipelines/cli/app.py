"""The Typer application. No other module catches errors to print them as a sentence and exit.

Exit status: 0 if all went well; 1 if something failed for which the input is not to blame; 2 if the input is wrong;
128 + signal if a signal stopped the command (130 for Ctrl-C), and the same command then continues the work. Each
command is a file beside this one. Slow imports are inside the commands, so that `augment --help` is fast.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from augment.words import printable
from pipelines.cli.bench import bench
from pipelines.cli.compare import compare
from pipelines.cli.evaluate import evaluate
from pipelines.cli.exit_status import explain
from pipelines.cli.export import export
from pipelines.cli.fit import fit
from pipelines.cli.generate import generate
from pipelines.cli.init import init
from pipelines.cli.inspect import inspect
from pipelines.cli.options import expand_groups
from pipelines.cli.predict import predict
from pipelines.cli.run import run
from pipelines.cli.runs import runs
from pipelines.cli.schema import schema
from pipelines.cli.train import train
from pipelines.cli.tune import tune
from pipelines.process import received_signal, stopped_sentence, tune_allocator, tune_threads

app = typer.Typer(
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Measure whether synthetic images from a GAN help your image classifier, by how much, and how certain that "
    "is. Start with: [bold]augment run auto DIR[/bold]",
)
EXAMPLES: dict[Callable[..., None], str] = {
    inspect: "augment inspect bundled:fashion --out sheet.png",
    fit: "augment fit bundled:fashion --samples-per-class 20 --steps 2000 --out runs/gan",
    generate: "augment generate runs/gan --out runs/images --per-class 200",
    evaluate: "augment evaluate bundled:fashion --samples-per-class 20 --synthetic runs/images --out runs/evaluation",
    tune: "augment tune bundled:fashion --samples-per-class 20 --horizontal-flip --out runs/tuned",
    run: "augment run auto DIR --out runs/mine",
    init: "augment init DIR --out mine.yaml",
    train: "augment train DIR --run runs/mine --out runs/model",
    predict: "augment predict runs/model PICTURES --out predictions.csv",
    export: "augment export runs/model --out model.onnx",
    compare: "augment compare runs/one runs/two --out compare.html",
    runs: "augment runs runs",
    bench: "augment bench --preset quickstart --out runs/bench",
    schema: "augment schema pipeline > pipeline.schema.json",
}


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("augment-osgan"))
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


@app.callback()
def options(version: Version = False) -> None:
    """Declare the options of `augment` itself."""


for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: {example}")(expand_groups(command))


def main() -> None:
    """Run the command line and exit; expected errors are printed as one sentence on standard error."""
    tune_threads()
    tune_allocator()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escape characters that the terminal's encoding does not have
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(None if sys.argv[1:] else ["--help"], standalone_mode=False)
        if sys.stdout is not None:  # it is None if the caller has closed it
            sys.stdout.flush()
    except BrokenPipeError:  # the program that read standard output has ended: exit silently, as Typer does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
    except Exception as error:
        sentence, status = explain(error)
        _fail(f"augment: {' '.join(sentence.splitlines())}", status)
    if status == 130:  # Typer returns this status for a KeyboardInterrupt
        _fail(stopped_sentence().strip(), 128 + (received_signal() or 2))
    sys.exit(status)


def _fail(sentence: str, status: int) -> None:
    typer.echo(printable(sentence), err=True)
    sys.exit(status)
