"""The Typer application, and the only place that catches errors, prints their sentence and exits.

Exit status: 0 done; 1 something failed that is not the input's fault; 2 the input is wrong; 130 stopped by Ctrl-C, with
everything resumable. Each command is a file beside this one; heavy imports happen inside the commands, so that
`augment --help` is quick.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

import typer

from augment.words import printable
from pipelines.cli.bench import bench
from pipelines.cli.evaluate import evaluate
from pipelines.cli.exit_status import explain
from pipelines.cli.fit import fit
from pipelines.cli.generate import generate
from pipelines.cli.inspect import inspect
from pipelines.cli.options import expand_groups
from pipelines.cli.run import run
from pipelines.cli.schema import schema
from pipelines.cli.tune import tune
from pipelines.process import STOPPED, received_signal, tune_allocator, tune_threads

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Does GAN-made data help your image classifier, by how much, and may you trust the answer? "
    "Start with: [bold]augment run quickstart --set data.source=DIR[/bold]",
)
EXAMPLES: dict[Callable[..., None], str] = {
    inspect: "augment inspect bundled:fashion --out sheet.png",
    fit: "augment fit bundled:fashion --samples-per-class 20 --steps 2000 --out runs/gan",
    generate: "augment generate runs/gan --out runs/images --per-class 200",
    evaluate: "augment evaluate bundled:fashion --synthetic runs/images --out runs/evaluation",
    tune: "augment tune bundled:fashion --samples-per-class 20 --horizontal-flip --out runs/tuned",
    run: "augment run quickstart --set data.source=DIR --out runs/mine",
    bench: "augment bench --preset quickstart --out runs/bench",
    schema: "augment schema pipeline > pipeline.schema.json",
}
for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: {example}")(expand_groups(command))


def main() -> None:
    """Run the command line and exit; an error of ours becomes one sentence on standard error."""
    tune_threads()
    tune_allocator()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that is not UTF-8 shows a name as escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(None if sys.argv[1:] else ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of standard output has gone: end without a word, as typer does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
    except Exception as error:
        sentence, status = explain(error)
        _fail(f"augment: {' '.join(sentence.splitlines())}", status)
    if status == 130:  # which typer returns for a KeyboardInterrupt
        _fail(STOPPED.strip(), 128 + (received_signal() or 2))
    sys.exit(status)


def _fail(sentence: str, status: int) -> None:
    typer.echo(printable(sentence), err=True)
    sys.exit(status)
