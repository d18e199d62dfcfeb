"""Verifies the signatures inside one object and says what they are worth, like an examiner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from verict.ct.part10 import DEFLATED, EXPLICIT_LITTLE
from verict.ct.sources import open_disk_file, unreadable
from verict.custody.byte_stream import is_signable, is_signable_tag
from verict.custody.elements import NATIVE, Element, ParsedObject, find_element, name_tag, parse_object
from verict.custody.mac import can_hash, holds
from verict.custody.profiles import changes_picture, must_be_signed
from verict.custody.signature import (
    DIGITAL_SIGNATURES,
    MAC_NAMES,
    MAC_PARAMETERS,
    STRONG_MACS,
    MacParameters,
    MalformedSignatureError,
    SignatureItem,
    read_mac_parameters,
    read_signature,
)
from verict.custody.trust import Standing, TrustStore
from verict.errors import printable, say_count

SOP_CLASS_UID, SOP_INSTANCE_UID, SERIES_INSTANCE_UID = 0x00080016, 0x00080018, 0x0020000E
MAX_SIGNATURES = 64  # an object; each costs a pass over it


class ObjectState(StrEnum):
    """What custody says of an object; re-encoded and coerced only a manifest can tell from invalid."""

    VALID = "valid"
    REENCODED = "re-encoded, content identical"
    COERCED = "coerced, content else identical"
    INVALID = "invalid"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    REVOKED = "revoked"
    UNSIGNED = "unsigned"

    @property
    def exit_code(self) -> int:
        """0 valid, 20 invalid, 22 untrusted, expired or revoked, 21 unsigned."""
        if self in (ObjectState.VALID, ObjectState.REENCODED, ObjectState.COERCED):
            return 0
        return {ObjectState.INVALID: 20, ObjectState.UNSIGNED: 21}.get(self, 22)


WORST_FIRST = (ObjectState.INVALID, ObjectState.REVOKED, ObjectState.EXPIRED, ObjectState.UNTRUSTED,
               ObjectState.UNSIGNED, ObjectState.COERCED, ObjectState.REENCODED, ObjectState.VALID)  # fmt: skip
_STATE_OF = {Standing.TRUSTED: ObjectState.VALID, Standing.UNTRUSTED: ObjectState.UNTRUSTED,
             Standing.EXPIRED: ObjectState.EXPIRED, Standing.REVOKED: ObjectState.REVOKED,
             Standing.ALTERED: ObjectState.INVALID}  # fmt: skip


@dataclass(frozen=True)
class SignatureVerdict:
    """What one signature says.

    Parameters
    ----------
    uid, signed_at, purpose, mac
        As the signature states them; the time is only the signer's word.
    signer
        The name in the certificate.
    state, reason
        What it is worth, and why.
    signed_tags
        The tags it covers.
    location
        Where in the object it stands; empty for the object itself.
    is_sound
        Whether the signature is well-formed, allowed and its certificate unaltered: if it is invalid all the same,
        the content differs from what was signed, be it only in its encoding.
    """

    uid: str
    signed_at: str
    signer: str
    purpose: str
    mac: str
    state: ObjectState
    reason: str
    signed_tags: tuple[int, ...] = ()
    location: str = ""
    is_sound: bool = True


@dataclass(frozen=True)
class ObjectVerdict:
    """What custody says of one object.

    ``unsigned`` names each attribute that no signature lists; ``added`` those that no signature which holds covers
    and that change the picture.
    ``only_differs`` tells of an invalid object that all its signatures are sound and merely do not fit the content.
    Preamble and file meta information are never signed (PS3.15 C.1).
    """

    file: str
    sop_instance_uid: str
    series_instance_uid: str
    state: ObjectState
    reasons: tuple[str, ...]
    signatures: tuple[SignatureVerdict, ...]
    unsigned: tuple[str, ...]
    added: tuple[str, ...]
    only_differs: bool = False

    @property
    def exit_code(self) -> int:
        """The code `verict verify` ends with for this object alone."""
        return self.state.exit_code


def verify_file(
    path: Path, trust: TrustStore, *, allow_weak_mac: bool = False, name: str | None = None
) -> ObjectVerdict:
    """Verify one DICOM file.

    Parameters
    ----------
    path
        The file.
    trust
        Whom to trust.
    allow_weak_mac
        Let MD5, SHA-1 and RIPEMD-160 pass, and say so.
    name
        How messages call the file; its name by default.

    Raises
    ------
    InputError
        If it cannot be read or is no whole DICOM file. A malformed signature is a verdict, not an error.
    """
    try:
        with open_disk_file(path) as file:
            data = file.read()
    except OSError as error:
        raise unreadable(name or path.name, error) from error
    return verify_bytes(data, trust, file=name or path.name, allow_weak_mac=allow_weak_mac)


def verify_bytes(data: bytes, trust: TrustStore, *, file: str, allow_weak_mac: bool = False) -> ObjectVerdict:
    """Verify one DICOM file in memory; see `verify_file`.

    Raises
    ------
    InputError
        If it is no whole DICOM file.
    """
    parsed = parse_object(data, file=file, private=True)
    verifier = _Verifier(parsed, trust, allow_weak_mac)
    signatures = list(verifier.examine(parsed.elements, ""))
    for location, elements in _nested(parsed.elements, ""):
        signatures += verifier.examine(elements, location)
    return _conclude(parsed, signatures)


class _Verifier:
    """Examines the signatures of one object, those in its items too."""

    def __init__(self, parsed: ParsedObject, trust: TrustStore, allow_weak_mac: bool) -> None:
        self.parsed, self.trust, self.allow_weak_mac = parsed, trust, allow_weak_mac
        self.count = 0

    def examine(self, elements: Sequence[Element], location: str) -> Iterator[SignatureVerdict]:
        """The verdict on each signature of one dataset, and on traces of one that is gone."""
        macs, signatures = find_element(elements, MAC_PARAMETERS), find_element(elements, DIGITAL_SIGNATURES)
        if macs is None and signatures is None:
            return
        if macs is None or signatures is None or not macs.items or not signatures.items:
            yield _malformed("a signature was removed: only a part of it is left", location)
            return
        try:
            parameters = [read_mac_parameters(self.parsed.data, self.parsed.coding, item) for item in macs.items]
        except MalformedSignatureError as error:
            yield _malformed(str(error), location)
            return
        by_number = {p.number: p for p in parameters}
        if len(by_number) < len(parameters):
            yield _malformed("two MAC parameters bear one number", location)
            return
        used = set()
        for item in signatures.items:
            self.count += 1
            if self.count > MAX_SIGNATURES:
                yield _malformed(f"more than {MAX_SIGNATURES} signatures", location)
                return
            try:
                signature = read_signature(self.parsed.data, self.parsed.coding, item)
                if signature.mac_number not in by_number:
                    raise MalformedSignatureError(f"MAC parameters {signature.mac_number} are missing")
            except MalformedSignatureError as error:
                yield _malformed(str(error), location)
                continue
            used.add(signature.mac_number)
            yield self._judge(by_number[signature.mac_number], signature, elements, location)
        if by_number.keys() - used:
            yield _malformed("a signature was removed: its MAC parameters are left", location)

    def _judge(
        self, parameters: MacParameters, signature: SignatureItem, elements: Sequence[Element], location: str
    ) -> SignatureVerdict:
        trust, state = self.trust.judge(signature.certificate, signature.signed_at), ObjectState.INVALID
        reason, sound = trust.reason, False
        if trust.standing is not Standing.ALTERED:
            reason = self._find_misuse(parameters)
            sound = not reason
            reason = reason or self._find_difference(parameters, signature, elements)
        if not reason:
            state, reason = _STATE_OF[trust.standing], trust.reason
        if parameters.algorithm not in STRONG_MACS and state is ObjectState.VALID:
            reason = f"{reason}; its {parameters.algorithm} is broken and let pass only because it was asked for"
        return SignatureVerdict(
            signature.uid, signature.signed_at_text, trust.signer, _shown(signature.purpose), parameters.algorithm,
            state, reason, parameters.tags, location, sound,
        )  # fmt: skip

    def _find_misuse(self, parameters: MacParameters) -> str:
        """Why a signature could never count, whatever it signs; empty where it could."""
        if parameters.algorithm not in MAC_NAMES:
            return f"the MAC algorithm {parameters.algorithm!r} is none that PS3.3 defines"
        if parameters.algorithm not in STRONG_MACS and not self.allow_weak_mac:
            return f"{parameters.algorithm} can be forged; --allow-weak-mac lets it pass"
        if not can_hash(parameters.algorithm):
            return f"{parameters.algorithm} cannot be computed on this machine"
        never = _find_unsignable(parameters.tags)
        return f"{_list(never)} may not be signed (PS3.3 C.12.1.1.3.1.1)" if never else ""

    def _find_difference(
        self, parameters: MacParameters, signature: SignatureItem, elements: Sequence[Element]
    ) -> str:
        """How the object differs from what was signed, as far as can be told; empty where it does not."""
        parsed = self.parsed
        native = parsed.transfer_syntax in NATIVE  # DCMTK names the deflated syntax for the same byte stream
        if parameters.transfer_syntax not in ((EXPLICIT_LITTLE, DEFLATED) if native else (parsed.transfer_syntax,)):
            return "the pixels were re-encoded since, or the MAC parameters changed: they name another transfer syntax"
        wanted = _tag_set(parameters.tags)
        listed = [element for element in elements if element[0] in wanted]
        if len(listed) != len(wanted):  # or one of them is there twice, which is told elsewhere
            present = {element.tag for element in elements}
            missing = [tag for tag in parameters.tags if tag not in present]
            if missing:
                return f"content changed: {_list(missing)} removed since"
        special = [element for element in listed if element[6] is not None or element[1] == b"UN"]
        unknown = [element.tag for element in special if not is_signable(element)]
        if unknown:
            return f"{_list(unknown)} lost the value representation since: re-encoded in implicit VR, or changed"
        if not holds(parsed, listed, parameters.algorithm, signature):
            return "content changed since, or the signature was made for another object"
        return ""


@lru_cache(maxsize=16)  # the objects of a series list the same tags
def _find_unsignable(tags: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(tag for tag in tags if not is_signable_tag(tag))


@lru_cache(maxsize=16)
def _tag_set(tags: tuple[int, ...]) -> frozenset[int]:
    return frozenset(tags)


def _conclude(parsed: ParsedObject, signatures: Sequence[SignatureVerdict]) -> ObjectVerdict:
    """One verdict out of all signatures of an object: the worst of them, and what they leave open."""
    main = [s for s in signatures if not s.location]
    listed = _union(main)
    covered = listed if all(s.state is not ObjectState.INVALID for s in main) else _union(
        [s for s in main if s.state is not ObjectState.INVALID]
    )  # fmt: skip
    not_covered = [element for element in parsed.elements if element[0] not in covered]
    open_tags = [element.tag for element in not_covered if is_signable_tag(element.tag)]
    states = {s.state for s in signatures}
    reasons = [s.reason for s in signatures if s.state is ObjectState.INVALID]
    faults = len(reasons)
    added: tuple[str, ...] = ()
    if not main:
        state = ObjectState.UNSIGNED
        reasons.append("no signature")
    else:
        reasons += _find_contradictions(parsed)
        if covered:
            added = tuple(name_tag(tag) for tag in open_tags if changes_picture(tag))
            narrow = [tag for tag in open_tags if must_be_signed(tag) and not changes_picture(tag)]
            if added:
                reasons.append(f"changes what is shown and is not signed: {', '.join(added)}")
            if narrow or SOP_INSTANCE_UID not in covered:
                reasons.append(f"too little is signed: {_list(narrow or [SOP_INSTANCE_UID])} left open")
        state = ObjectState.INVALID if reasons else next(s for s in WORST_FIRST if s in states)
        if not reasons:
            reasons = [s.reason for s in signatures if s.state is state]
    if ObjectState.INVALID in states:
        state = ObjectState.INVALID
    unsigned = tuple(
        name_tag(e.tag) + (" (UN)" if e.vr == b"UN" else "")
        for e in not_covered if e.tag not in listed and is_signable_tag(e.tag)
    )  # fmt: skip
    return ObjectVerdict(
        parsed.file, _shown(parsed.text(SOP_INSTANCE_UID)), _shown(parsed.text(SERIES_INSTANCE_UID)), state,
        tuple(dict.fromkeys(reasons)), tuple(signatures), unsigned if listed else (), added,
        state is ObjectState.INVALID and len(reasons) == faults and all(s.is_sound for s in signatures),
    )  # fmt: skip


def _union(signatures: Sequence[SignatureVerdict]) -> frozenset[int]:
    if len(signatures) == 1:
        return _tag_set(signatures[0].signed_tags)
    return frozenset().union(*(signature.signed_tags for signature in signatures))


def _find_contradictions(parsed: ParsedObject) -> list[str]:
    """What no honest writer leaves in a signed object, though no signature covers it."""
    found = list(parsed.irregular)
    if parsed.media_instance_uid not in ("", parsed.text(SOP_INSTANCE_UID)):
        found.append("file meta information names another object than the dataset")
    if parsed.media_class_uid not in ("", parsed.text(SOP_CLASS_UID)):  # readers pass over what says it is a DICOMDIR
        found.append("file meta information names another SOP class than the dataset")
    return found


def _nested(elements: Iterable[Element], location: str) -> Iterator[tuple[str, tuple[Element, ...]]]:
    """Every dataset below these elements, with its place in words; what hangs in UN is not looked into."""
    for element in elements:
        if element.vr != b"SQ" or not element.items or element.tag in (MAC_PARAMETERS, DIGITAL_SIGNATURES):
            continue
        for number, item in enumerate(element.items, start=1):
            place = f"{location}{name_tag(element.tag)}, item {number}"
            yield place, item.elements
            yield from _nested(item.elements, f"{place}, ")


def _shown(text: str) -> str:
    return text if text.isprintable() else printable(text)


def _malformed(reason: str, location: str) -> SignatureVerdict:
    return SignatureVerdict("", "", "unknown", "", "", ObjectState.INVALID, reason, (), location, is_sound=False)


def _list(tags: Sequence[int], shown: int = 4) -> str:
    names = ", ".join(name_tag(tag) for tag in tags[:shown])
    return names if len(tags) <= shown else f"{names} and {say_count(len(tags) - shown, 'more', 'more')}"
