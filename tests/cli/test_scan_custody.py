"""`verict scan` with signatures: custody beside forensics, and the signature on the report."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from builders import make_body_hu, make_series
from cryptography.hazmat.primitives import serialization
from custody.sealed_series import paint, reencode, sign_all
from custody.signers import make_identity
from pydicom.uid import ImplicitVRLittleEndian
from report.schema_check import find_violations
from typer.testing import CliRunner, Result

from verict.cli.scan import scan
from verict.custody.cms import check_detached
from verict.custody.keys import Signer
from verict.custody.seal import seal_study

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "scan-result.schema.json").read_text(encoding="utf-8"))
IDENTITY = make_identity()
SIGNER = Signer(IDENTITY.key, IDENTITY.certificate)
APP = typer.Typer(pretty_exceptions_enable=False)
APP.command("scan")(scan)
SLICES = 12


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small chests, one of them signed, and the signer's papers."""
    place = tmp_path_factory.mktemp("hospital")
    hu = make_body_hu(SLICES, 96, 96, seed=3)
    for name in ("plain", "signed"):
        make_series(place / name, hu=hu, spacing_mm=(2.5, 3.0, 3.0), patient_id=f"PID-{name}")
    sign_all(place / "signed", SIGNER)
    seal_study(place / "signed", SIGNER)
    (place / "ca.pem").write_bytes(IDENTITY.issuers[0].public_bytes(serialization.Encoding.PEM))
    (place / "key.pem").write_bytes(IDENTITY.key_pem)
    (place / "key.pem").chmod(0o600)
    (place / "cert.pem").write_bytes(IDENTITY.certificate_pem)
    return place


@pytest.fixture
def here(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = Path(shutil.copytree(originals, tmp_path / "hospital"))
    monkeypatch.chdir(copy)
    return copy


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(
        APP, [*arguments, "--detector", "header"], env={"COLUMNS": "200", "TERM": "dumb"}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def said(result: Result) -> str:
    return " ".join(result.stdout.split())


def test_custody_is_not_examined_unless_asked_for(here: Path) -> None:
    result = run("signed", "--json", "out.json", "--report", "out.html")
    assert "custody" not in result.stdout
    assert json.loads((here / "out.json").read_text())["custody"] is None
    assert "not examined, as neither --trust nor --manifest was given" in (here / "out.html").read_text()


def test_a_signed_study_is_said_to_be_unchanged_since(here: Path) -> None:
    before = run("signed").exit_code
    result = run("signed", "--trust", "ca.pem", "--json", "out.json", "--report", "out.html")
    assert result.exit_code == before
    assert "custody: signed by CT-1, Hospital on 20" in said(result)
    assert "unchanged since: 12 slices, bit for bit" in said(result)
    document = json.loads((here / "out.json").read_text())
    assert find_violations(document, SCHEMA) == []
    assert document["custody"]["state"] == "valid"
    assert document["custody"]["series"][0]["signers"] == ["CT-1, Hospital"]
    assert document["custody"]["series"][0]["files"] == []
    assert len(document["custody"]["trusted_sha256"][0]) == 64
    page = (here / "out.html").read_text()
    assert "unchanged since: 12 slices, bit for bit" in page
    assert "What does not hold" not in page


def test_an_unsigned_study_leaves_the_word_to_forensics(here: Path) -> None:
    before = run("plain").exit_code
    result = run("plain", "--trust", "ca.pem", "--json", "out.json", "--report", "out.html")
    assert result.exit_code == before
    assert "custody: unsigned: only forensics speaks" in said(result)
    assert json.loads((here / "out.json").read_text())["custody"]["state"] == "unsigned"
    assert "unsigned: only forensics speaks" in (here / "out.html").read_text()


def test_an_invalid_signature_is_10_and_names_the_slices(here: Path) -> None:
    before = run("signed").exit_code
    for number in (4, 5, 6):
        paint(here / "signed" / f"{number:03d}.dcm")
    assert run("signed").exit_code == before, "the header alone does not see it"
    result = run("signed", "--trust", "ca.pem", "--json", "out.json", "--report", "out.html")
    assert result.exit_code == 10
    assert "changed since it was signed: pixels changed in slices 3 to 5" in said(result)
    assert "slices 3 to 5, 3 files: pixels changed" in said(result)
    document = json.loads((here / "out.json").read_text())
    assert find_violations(document, SCHEMA) == []
    assert (document["exit_code"], document["custody"]["state"]) == (10, "invalid")
    assert [file["slice"] for file in document["custody"]["series"][0]["files"]] == [3, 4, 5]
    page = (here / "out.html").read_text()
    assert "<h1 class=\"verdict suspicious\">Changed since it was signed" in page
    assert "Forensics by itself:" in page
    assert "<td>3 to 5</td><td class=\"mono\">3 files</td>" in page


def test_a_damaged_file_beside_a_study_does_not_silence_custody(here: Path) -> None:
    paint(here / "signed" / "004.dcm")
    (here / "signed.intermediates.pem").write_bytes(b"nothing")
    result = run("signed", "--trust", "ca.pem")
    assert result.exit_code in (1, 10)
    assert "custody could not be examined" in result.output
    (here / "signed.intermediates.pem").unlink()
    (here / "signed.manifest.json.p7s").write_bytes(b"0" * 2_000_000)
    assert run("signed", "--trust", "ca.pem").exit_code == 10


def test_a_missing_slice_is_10(here: Path) -> None:
    (here / "signed" / "006.dcm").unlink()
    result = run("signed", "--trust", "ca.pem")
    assert result.exit_code == 10
    assert "slice 5 missing" in said(result)
    assert "slice 5, no file: missing" in said(result)


def test_a_reencoded_study_is_no_evidence_against_it(here: Path) -> None:
    for file in (here / "signed").iterdir():
        reencode(file, ImplicitVRLittleEndian)
    before = run("signed").exit_code
    result = run("signed", "--trust", "ca.pem")
    assert result.exit_code == before
    assert "re-encoded, content identical" in said(result)


def test_a_manifest_may_be_named_and_is_not_trusted_by_itself(here: Path) -> None:
    before = run("signed").exit_code
    for suffix in ("", ".p7s"):
        (here / f"signed.manifest.json{suffix}").rename(here / f"elsewhere.json{suffix}")
    result = run("signed", "--manifest", "elsewhere.json")
    assert result.exit_code == before
    assert "untrusted: no trusted root was given, unchanged since: 12 slices" in said(result)
    paint(here / "signed" / "003.dcm")
    assert run("signed", "--manifest", "elsewhere.json").exit_code == 10
    assert run("signed", "--manifest", "none.json").exit_code == 1


def test_a_study_that_is_gone_is_said_to_be_unexamined(here: Path) -> None:
    result = run("nowhere", "--trust", "ca.pem", "--json", "out.json")
    assert result.exit_code == 1
    assert json.loads((here / "out.json").read_text())["custody"]["failures"]


def test_an_anonymous_report_names_no_signer_and_no_time(here: Path) -> None:
    paint(here / "signed" / "003.dcm")
    result = run("signed", "--trust", "ca.pem", "--anonymous", "--json", "out.json", "--report", "out.html")
    assert result.exit_code == 10
    everything = result.stdout + (here / "out.json").read_text() + (here / "out.html").read_text()
    document = json.loads((here / "out.json").read_text())
    assert find_violations(document, SCHEMA) == []
    custody = json.dumps(document["custody"])
    for secret in ("CT-1", "Hospital", "Test Root", "003.dcm", "PID-", "1.2.826"):
        assert secret not in custody
        assert secret not in everything.replace("verict scan report", "")
    assert "pixels changed in slice 2" in custody
    assert document["custody"]["series"][0]["signed_at"] == []


def test_many_studies_have_their_custody_in_the_table(here: Path) -> None:
    paint(here / "signed" / "003.dcm")
    result = run("plain", "signed", "--trust", "ca.pem", "--json", "out.ndjson", "--report", "pages")
    assert result.exit_code == 10
    assert "Changed since it was signed" in said(result)
    lines = [json.loads(line) for line in (here / "out.ndjson").read_text().splitlines()]
    assert [line["custody"]["state"] for line in lines] == ["unsigned", "invalid"]
    refused = run("plain", "signed", "--manifest", "signed.manifest.json")
    assert refused.exit_code == 2
    assert "--manifest names a manifest of one study" in refused.stderr


SIGN = ("--sign-report", "--key", "key.pem", "--cert", "cert.pem")


def test_report_and_json_are_signed(here: Path) -> None:
    run("signed", "--trust", "ca.pem", "--json", "out.json", "--report", "out.html", *SIGN)
    for name in ("out.json", "out.html"):
        check = check_detached((here / name).read_bytes(), (here / f"{name}.p7s").read_bytes())
        assert (check.valid, check.certificate) == (True, IDENTITY.certificate)


def test_the_reports_of_many_studies_are_signed(here: Path) -> None:
    run("plain", "signed", "--json", "out.ndjson", "--report", "pages", *SIGN)
    names = [Path("out.ndjson"), *sorted(p.relative_to(here) for p in (here / "pages").glob("*.html"))]
    assert len(names) == 3
    for name in names:
        assert check_detached((here / name).read_bytes(), (here / f"{name}.p7s").read_bytes()).valid


def test_openssl_verifies_a_signed_report(here: Path, openssl: Path) -> None:
    run("plain", "--report", "out.html", *SIGN)
    command = [openssl, "cms", "-verify", "-binary", "-inform", "DER", "-in", "out.html.p7s", "-content", "out.html",
               "-CAfile", "ca.pem", "-purpose", "any", "-out", "copy"]  # fmt: skip
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    (here / "out.html").write_text("another")
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode != 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sign-report", "--report", "x.html"), "--sign-report needs a key"),
        (("--key", "key.pem", "--report", "x.html"), "give --sign-report too"),
        (SIGN, "--sign-report has nothing to sign"),
        ((*SIGN, "--json", "-"), "--sign-report has nothing to sign"),
        (("--sign-report", "--key", "key.pem", "--report", "x.html"), "--cert"),
    ],
)
def test_options_for_a_signature_that_do_not_fit_are_refused(
    here: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run("plain", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (here / "x.html").exists()


def test_a_signature_that_could_not_be_written_is_refused_before_the_work(here: Path) -> None:
    (here / "out.json.p7s").mkdir()
    result = run("plain", "--json", "out.json", *SIGN)
    assert result.exit_code == 2
    assert not (here / "out.json").exists()


def test_a_certificate_that_cannot_be_read_is_told(here: Path) -> None:
    (here / "ca.pem").write_text("nothing")
    result = run("plain", "--trust", "ca.pem")
    assert result.exit_code == 1
    assert "ca.pem" in result.stderr
