"""What verict signs DCMTK's dcmsign verifies, and the other way round; one changed byte both refuse."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from custody.forging import with_element
from custody.hospital import authority, curve_scanner, deep_scanner, intermediate, scanner, trust, write_signer
from custody.objects import EXPLICIT, IMPLICIT, SYNTAXES, Writer, make_object

from verict.custody.keys import Signer
from verict.custody.profiles import Profile, Purpose
from verict.custody.sign_object import SignOptions, sign_bytes
from verict.custody.verify_object import ObjectState, verify_bytes

Dcmtk = Callable[[str], Path]
MACS = {"sha256": "+m2", "sha384": "+m3", "sha512": "+m5"}
WEAK = {"RIPEMD160": "+mr", "SHA1": "+ms", "MD5": "+mm"}
PROFILES = {Profile.NONE: "-pf", Profile.BASE: "+pb", Profile.CREATOR: "+pc"}
WANTED = {Profile.NONE: "+rg", Profile.BASE: "+rg", Profile.CREATOR: "+rc"}
RSA = [("rsa", profile) for profile in PROFILES]
MATRIX = [(syntax, mac, key, profile) for syntax, mac, (key, profile)
          in product(SYNTAXES, MACS, [*RSA, ("curve", Profile.NONE)])]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interop")
    write_signer(scanner(), folder / "rsa")
    write_signer(curve_scanner(), folder / "curve")
    pem = authority().certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "root.pem").write_bytes(pem)
    return folder


def _run(tool: Path, *arguments: object) -> tuple[int, str]:
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def _verify(tool: Path, place: Path, data: bytes, *options: object) -> tuple[int, str]:
    (place / "ours.dcm").write_bytes(data)
    return _run(tool, "-v", "+cf", place / "root.pem", *options, place / "ours.dcm")


def _sign(tool: Path, place: Path, data: bytes, key: str, *options: object) -> bytes:
    (place / "plain.dcm").write_bytes(data)
    code, said = _run(tool, "+s", place / key / "key.pem", place / key / "cert.pem", *options, place / "plain.dcm",
                      place / "theirs.dcm")  # fmt: skip
    assert code == 0, said
    return (place / "theirs.dcm").read_bytes()


def _change(data: bytes) -> bytes:
    """One byte of a value changed: the slice thickness, of the explicit and implicit files alike."""
    assert data.count(b"1.5 ") == 2
    at = data.index(b"1.5 ")
    return data[:at] + b"2" + data[at + 1 :]


@pytest.mark.parametrize(("syntax", "mac", "key", "profile"), MATRIX)
def test_each_verifies_what_the_other_signs(
    dcmtk: Dcmtk, place: Path, syntax: str, mac: str, key: str, profile: Profile
) -> None:
    tool, data = dcmtk("dcmsign"), make_object(SYNTAXES[syntax])
    signer: Signer = scanner() if key == "rsa" else curve_scanner()
    ours = sign_bytes(data, signer, SignOptions(profile, mac, Purpose.CREATED), file="slice").data
    code, said = _verify(tool, place, ours, WANTED[profile])
    assert code == 0, said
    theirs = _sign(tool, place, data, key, MACS[mac], PROFILES[profile])
    verdict = verify_bytes(theirs, trust(), file="slice")
    assert verdict.state is ObjectState.VALID, verdict.reasons


@pytest.mark.parametrize("syntax", [name for name in SYNTAXES if name != "deflated"])
def test_both_refuse_a_changed_byte(dcmtk: Dcmtk, place: Path, syntax: str) -> None:
    tool, data = dcmtk("dcmsign"), make_object(SYNTAXES[syntax])
    ours = sign_bytes(data, scanner(), SignOptions(), file="slice").data
    theirs = _sign(tool, place, data, "rsa", "+m2")
    for signed in (ours, theirs):
        assert _verify(tool, place, signed)[0] == 0
        changed = _change(signed)
        code, said = _verify(tool, place, changed)
        assert code == 101, said
        assert verify_bytes(changed, trust(), file="slice").state is ObjectState.INVALID


@pytest.mark.parametrize("mac", WEAK)
def test_weak_macs_of_dcmsign_pass_only_when_asked_for(dcmtk: Dcmtk, place: Path, mac: str) -> None:
    theirs = _sign(dcmtk("dcmsign"), place, make_object(), "rsa", WEAK[mac])
    assert verify_bytes(theirs, trust(), file="slice").state is ObjectState.INVALID
    allowed = verify_bytes(theirs, trust(), file="slice", allow_weak_mac=True)
    assert allowed.state is ObjectState.VALID
    assert f"{mac} is broken" in allowed.reasons[0]


def test_several_signatures_on_one_object(dcmtk: Dcmtk, place: Path) -> None:
    tool = dcmtk("dcmsign")
    once = sign_bytes(make_object(), scanner(), SignOptions(purpose=Purpose.CREATED), file="slice").data
    both = _sign(tool, place, once, "curve", "+m5", "+sp", 5)
    thrice = sign_bytes(both, scanner("CT-7"), SignOptions(purpose=Purpose.RECEIVED), file="slice").data
    code, said = _verify(tool, place, thrice)
    assert (code, said.count("Verification      : OK")) == (0, 3), said
    verdict = verify_bytes(thrice, trust(), file="slice")
    assert verdict.state is ObjectState.VALID
    assert [s.purpose for s in verdict.signatures] == ["created", "received", "received"]


def test_a_chain_with_an_intermediate(dcmtk: Dcmtk, place: Path) -> None:
    signed = sign_bytes(make_object(), deep_scanner(), SignOptions(), file="slice").data
    pem = intermediate().certificate.public_bytes(serialization.Encoding.PEM)
    (place / "intermediate.pem").write_bytes(pem)
    assert _verify(dcmtk("dcmsign"), place, signed, "+uf", place / "intermediate.pem")[0] == 0
    assert verify_bytes(signed, trust(), file="slice").state is ObjectState.UNTRUSTED
    store = trust(authority(), intermediates=(intermediate().certificate,))
    assert verify_bytes(signed, store, file="slice").state is ObjectState.VALID


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
def test_values_no_writer_should_write(dcmtk: Dcmtk, place: Path, syntax: str) -> None:
    w = Writer(syntax)
    data = make_object(
        syntax,
        x00080060=w.element(0x00080060, b"CS", b"CT  "),
        x00080070=w.element(0x00080070, b"LO", b"    "),
        x00080080=w.element(0x00080080, b"LO", b"a\\b   "),
        x00080081=w.element(0x00080081, b"ST", b"line  \0"),
        x00081010=w.element(0x00081010, b"SH", b"\0\0"),
        x00101010=w.element(0x00101010, b"AS", b"5"),
    )
    ours = sign_bytes(data, scanner(), SignOptions(), file="slice").data
    code, said = _verify(dcmtk("dcmsign"), place, ours)
    assert code == 0, said
    assert verify_bytes(ours, trust(), file="slice").state is ObjectState.VALID


def test_rewriting_in_another_native_syntax_keeps_it(dcmtk: Dcmtk, place: Path) -> None:
    ours = sign_bytes(make_object(unknown=False, odd=False), scanner(), SignOptions(), file="slice").data
    (place / "ours.dcm").write_bytes(ours)
    for option in ("+tb", "+td", "+te", "+e", "-e", "+g"):
        code, said = _run(dcmtk("dcmconv"), option, place / "ours.dcm", place / "other.dcm")
        assert code == 0, said
        verdict = verify_bytes((place / "other.dcm").read_bytes(), trust(), file="slice")
        assert verdict.state is ObjectState.VALID, (option, verdict.reasons)


def test_implicit_vr_breaks_private_attributes_for_good(dcmtk: Dcmtk, place: Path) -> None:
    ours = sign_bytes(make_object(unknown=False), scanner(), SignOptions(), file="slice").data
    (place / "ours.dcm").write_bytes(ours)
    assert _run(dcmtk("dcmconv"), "+ti", place / "ours.dcm", place / "other.dcm")[0] == 0
    verdict = verify_bytes((place / "other.dcm").read_bytes(), trust(), file="slice")
    assert verdict.state is ObjectState.INVALID
    assert "lost the value representation" in verdict.reasons[0]
    assert verdict.only_differs


def test_an_added_overlay_passes_there_and_not_here(dcmtk: Dcmtk, place: Path) -> None:
    signed = sign_bytes(make_object(), scanner(), SignOptions(), file="slice").data
    added = with_element(signed, Writer().element(0x60023000, b"OW", b"\xff\xff"))
    assert _verify(dcmtk("dcmsign"), place, added)[0] == 0
    assert verify_bytes(added, trust(), file="slice").state is ObjectState.INVALID


def test_dciodvfy_finds_no_new_error(dcmtk: Dcmtk, place: Path, shared_data: Path) -> None:
    tool = dcmtk("dciodvfy")
    for path in sorted((shared_data / "authentic").glob("**/*.dcm"))[::150]:
        signed = sign_bytes(path.read_bytes(), scanner(), SignOptions(purpose=Purpose.CREATED), file=path.name).data
        (place / "signed.dcm").write_bytes(signed)
        before, after = (set(_run(tool, file)[1].splitlines()) for file in (path, place / "signed.dcm"))
        fresh = [line for line in after - before if line.startswith("Error")]
        assert fresh == [], (path.name, fresh)


def test_a_signature_of_an_item_is_judged_and_does_not_stand_for_the_object(dcmtk: Dcmtk, place: Path) -> None:
    (place / "plain.dcm").write_bytes(make_object(unknown=False))
    code, said = _run(dcmtk("dcmsign"), "+si", place / "rsa" / "key.pem", place / "rsa" / "cert.pem",
                      "ProcedureCodeSequence[0]", "+m2", place / "plain.dcm", place / "item.dcm")  # fmt: skip
    assert code == 0, said
    data = (place / "item.dcm").read_bytes()
    verdict = verify_bytes(data, trust(), file="slice")
    assert verdict.state is ObjectState.UNSIGNED
    (inner,) = verdict.signatures
    assert (inner.state, inner.location) == (ObjectState.VALID, "(0008,1032) ProcedureCodeSequence, item 1")
    whole = sign_bytes(data, scanner(), SignOptions(), file="slice").data
    assert verify_bytes(whole, trust(), file="slice").state is ObjectState.VALID
    assert _verify(dcmtk("dcmsign"), place, whole)[0] == 0
    at = whole.index(b"meaning ")
    changed = verify_bytes(whole[:at] + b"M" + whole[at + 1 :], trust(), file="slice")
    assert [s.state for s in changed.signatures] == [ObjectState.INVALID] * 2


def test_real_files_of_every_scanner_at_hand(dcmtk: Dcmtk, place: Path, shared_data: Path) -> None:
    tool = dcmtk("dcmsign")
    files = sorted((shared_data / "authentic").glob("**/*.dcm"))[::60]
    assert len(files) > 8
    for path in files:
        ours = sign_bytes(path.read_bytes(), scanner(), SignOptions(), file=path.name).data
        code, said = _verify(tool, place, ours, "+rc")
        assert code == 0, (path, said)
        theirs = _sign(tool, place, path.read_bytes(), "rsa", "+m2", "+pc")
        assert verify_bytes(theirs, trust(), file=path.name).state is ObjectState.VALID, path
