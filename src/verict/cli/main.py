"""The `verict` command: one file per command family, registered here."""

from __future__ import annotations

from typing import Annotated

import typer

from verict import __version__
from verict.cli import bench, classify, data, demo, evaluate, keys, phantom, scan, sign, tamper, train, verify

app = typer.Typer(
    name="verict",
    help="Says whether a CT scan can be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"verict {__version__}")
        raise typer.Exit


@app.callback()
def verict(
    *, version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False
) -> None:
    """Says whether a CT scan can be trusted."""


app.command("scan")(scan.scan)
app.command("sign")(sign.sign)
app.command("verify")(verify.verify)
app.command("evaluate")(evaluate.evaluate)
app.command("classify")(classify.classify)
app.command("demo")(demo.demo)
app.command("phantom")(phantom.phantom)
app.add_typer(bench.app, name="bench")
app.add_typer(keys.app, name="keys")
app.add_typer(data.app, name="data")
app.add_typer(tamper.app, name="tamper")
app.add_typer(train.app, name="train")
