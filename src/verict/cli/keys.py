"""`verict keys`: keys and certificates to sign with."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from verict.cli.passphrases import ask_passphrase, choose_passphrase
from verict.cli.terminal import exit_on_error, make_streams_forgiving
from verict.errors import OutputError, UsageError

app = typer.Typer(help="Keys and certificates to sign with.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Keys and certificates to sign with."""


@app.command("new")
def new(
    *,
    name: Annotated[
        str, typer.Option(metavar="NAME", show_default=False, help="Who signs: stands in every signature.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the key and its certificate go.")
    ] = Path(),
    bits: Annotated[int, typer.Option(metavar="N", help="Size of the RSA key.")] = 3072,
    curve: Annotated[
        bool, typer.Option("--curve", help="A key on the curve P-256 in place of RSA; signs with --profile none only.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, max=36500, metavar="N", help="How long the certificate is valid.")] = 1825,
    authority: Annotated[
        bool, typer.Option("--ca", help="A certificate authority, which issues certificates and signs nothing else.")
    ] = False,
    issuer_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Key of the authority that issues the certificate; "
                     "without it the certificate vouches for itself."),
    ] = None,
    issuer_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Certificate of that authority.")
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Its first line encrypts the new key; without it the "
                     "passphrase is asked for."),
    ] = None,
    issuer_passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="The passphrase of the authority's key.")
    ] = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the new key unencrypted.")
    ] = False,
) -> None:
    """Make a private key and its certificate.

    The key is encrypted, and only its owner may read it. Existing files are never replaced.

    Exit codes: 0 made; 1 an input cannot be used; 2 wrong usage, or a place that cannot be written.
    """
    make_streams_forgiving()
    with exit_on_error("keys", interrupted="interrupted; no key was made"):
        from verict.custody import keys as made

        if (issuer_key is None) != (issuer_cert is None):
            raise UsageError("--issuer-key and --issuer-cert belong together")
        stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "signer"
        places = (out / f"{stem}.key.pem", out / f"{stem}.cert.pem")
        for place in places:
            if place.exists():
                raise OutputError("the file exists already", file=place, next_step="name another --out")
        issuer = None
        if issuer_key is not None:
            issuer = made.load_signer(issuer_key, issuer_cert, ask=ask_passphrase(issuer_passphrase_file))
        passphrase = choose_passphrase(passphrase_file, without=no_passphrase)
        key = made.make_key(bits=bits, curve=curve)
        certificate = made.make_certificate(name, key, days=days, authority=authority, issuer=issuer)
        chain = [] if issuer is None else [c for c in (issuer.certificate, *issuer.chain) if c.issuer != c.subject]
        _write_new(places[0], made.key_pem(key, passphrase), 0o600)
        _write_new(places[1], made.certificates_pem([certificate, *chain]), 0o644)
        kind = "P-256" if curve else f"RSA {bits}"
        typer.echo(f"key          {places[0]} ({kind}, {'encrypted' if passphrase else 'not encrypted'})")
        typer.echo(f"certificate  {places[1]} (valid to {certificate.not_valid_after_utc:%Y-%m-%d}, "
                   f"{'issued by ' + issuer.name if issuer else 'vouches for itself'})")  # fmt: skip


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist, readable from its first moment by whom it should be alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", file=path) from error
