"""The `verict` command: one file per command family, registered here."""

from __future__ import annotations

import typer

from verict.cli import data, demo, scan, train

app = typer.Typer(name="verict", help="Says whether a CT scan can be trusted.", no_args_is_help=True,
                  pretty_exceptions_enable=False, add_completion=False)
app.command("scan")(scan.scan)
app.command("demo")(demo.demo)
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")
