"""Signs one object: every attribute that may be signed, in the object, by splicing (PS3.15 C.1 to C.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from verict.ct.part10 import EXPLICIT_LITTLE
from verict.custody.byte_stream import split_signable, stream_elements
from verict.custody.elements import NATIVE, Element, Item, ParsedObject, name_tag, parse_object
from verict.custody.keys import Signer
from verict.custody.mac import hash_stream
from verict.custody.profiles import Profile, Purpose, changes_picture, is_creator_minimum
from verict.custody.signature import (
    DIGITAL_SIGNATURES,
    MAC_NAMES,
    MAC_PARAMETERS,
    MAX_SIGNED_TAGS,
    MacParameters,
    SignatureItem,
    mac_parameters_item,
    read_mac_parameters,
    read_signature,
    signature_item,
    signed_part,
    stream_part,
)
from verict.custody.splice import splice_signature
from verict.custody.trust import TrustStore
from verict.custody.verify_object import ObjectState, verify_bytes
from verict.errors import InputError, UsageError


@dataclass(frozen=True)
class SignOptions:
    """How to sign. ``mac`` is sha256, sha384 or sha512; ``signed_at`` is now where it is None."""

    profile: Profile = Profile.CREATOR
    mac: str = "sha256"
    purpose: Purpose | None = None
    signed_at: datetime | None = None


@dataclass(frozen=True)
class SignedObject:
    """A signed object in pieces to write one after another.

    ``unsigned`` names what had to be left out. ``again`` tells that the same certificate had signed it for the
    same purpose already and that it is handed back as it was.
    """

    pieces: list[bytes | memoryview] = field(repr=False)
    unsigned: tuple[str, ...]
    sop_instance_uid: str
    series_instance_uid: str
    again: bool = False

    @property
    def data(self) -> bytes:
        """The file in one."""
        return b"".join(self.pieces)


def check_options(signer: Signer, options: SignOptions) -> None:
    """Refuse what the profile forbids, before any file is touched.

    Raises
    ------
    UsageError
        If an elliptic-curve key is to sign under an RSA profile.
    """
    if options.profile is not Profile.NONE and not signer.is_rsa:
        raise UsageError(
            "a key on an elliptic curve lies outside of the RSA profiles of PS3.15",
            found=f"--profile {options.profile}",
            next_step="give --profile none, or an RSA key",
        )


def sign_bytes(data: bytes, signer: Signer, options: SignOptions, *, file: str) -> SignedObject:
    """Sign one DICOM file.

    Parameters
    ----------
    data
        The whole file.
    file
        Its name, for messages.

    Raises
    ------
    InputError
        If it is no whole DICOM file, or holds what a verifier would have to refuse.
    UsageError
        If key and profile do not fit.
    """
    check_options(signer, options)
    parsed = parse_object(data, file=file)
    _refuse_irregular(parsed)
    signable, left_out = split_signable(parsed.elements)
    _refuse_open(parsed, left_out, options.profile)
    sop, series = parsed.text(0x00080018), parsed.text(0x0020000E)
    names = tuple(f"{name_tag(e.tag)} ({'UN' if e.vr == b'UN' else 'holds UN'})" for e in left_out)
    earlier = _read_earlier(parsed, data)
    if _is_signed_already(earlier, signer, options, tuple(element.tag for element in signable)):
        return SignedObject([data], names, sop, series, again=True)
    numbers = {parameters.number for parameters, _ in earlier}
    number = next(n for n in range(65536) if n not in numbers)
    syntax = EXPLICIT_LITTLE if parsed.transfer_syntax in NATIVE else parsed.transfer_syntax
    algorithm = options.mac.upper()
    part = signed_part(number, options.signed_at or datetime.now(UTC), options.purpose)
    content = stream_elements(parsed.data, parsed.coding, signable)
    digest = hash_stream(MAC_NAMES[algorithm], content, [stream_part(part)])
    signature = signer.sign_digest(digest, MAC_NAMES[algorithm])
    parameters = MacParameters(number, syntax, algorithm, tuple(element.tag for element in signable))
    pieces = splice_signature(
        parsed,
        mac_parameters_item(parameters, parsed.coding),
        signature_item(part, signer.certificate_der, signature, parsed.coding),
    )
    return SignedObject(pieces, names, sop, series)


def _refuse_irregular(parsed: ParsedObject) -> None:
    if parsed.irregular:
        raise InputError("the object cannot be signed as it is", file=parsed.file, found=parsed.irregular[0],
                         next_step="have its writer mend it")  # fmt: skip
    sop = parsed.text(0x00080018)
    if not sop or not parsed.text(0x00080016):
        raise InputError("the object has no identity to sign", file=parsed.file, tag=name_tag(0x00080018),
                         expected="SOP Class and SOP Instance UID")  # fmt: skip
    for tag, named, own in ((0x00020003, parsed.media_instance_uid, sop),
                            (0x00020002, parsed.media_class_uid, parsed.text(0x00080016))):  # fmt: skip
        if named not in ("", own):
            raise InputError("file meta information and dataset name different objects", file=parsed.file,
                             tag=name_tag(tag), next_step="have its writer mend it")  # fmt: skip


def _refuse_open(parsed: ParsedObject, left_out: list[Element], profile: Profile) -> None:
    """Refuse to leave open what a verifier could not let pass."""
    for element in left_out:
        wanted = changes_picture(element.tag) or (profile is Profile.CREATOR and is_creator_minimum(element.tag))
        if wanted:
            raise InputError(
                "an attribute that has to be signed is held as UN, or holds one that is",
                file=parsed.file,
                tag=name_tag(element.tag),
                expected="its own value representation",
                next_step="have its writer store it under its own VR",
            )
    if len(parsed.elements) > MAX_SIGNED_TAGS:
        raise InputError("the object has more attributes than a signature can list", file=parsed.file,
                         found=len(parsed.elements), expected=f"at most {MAX_SIGNED_TAGS}")  # fmt: skip


def _read_earlier(parsed: ParsedObject, data: bytes) -> list[tuple[MacParameters, SignatureItem]]:
    """The signatures an object bears already; whoever signs it again never covers up one that does not hold.

    Raises
    ------
    InputError
        If one is broken, whoever made it.
    """
    if parsed.find(MAC_PARAMETERS) is None and parsed.find(DIGITAL_SIGNATURES) is None:
        return []
    verdict = verify_bytes(data, TrustStore(()), file=parsed.file, allow_weak_mac=True)
    broken = [signature for signature in verdict.signatures if signature.state is ObjectState.INVALID]
    if broken:
        raise InputError(
            "a signature that the object bears does not hold", file=parsed.file, found=broken[0].reason,
            next_step="find out what changed since, before anybody signs it again",
        )  # fmt: skip
    read = [read_mac_parameters(parsed.data, parsed.coding, item) for item in _items(parsed, MAC_PARAMETERS)]
    by_number = {parameters.number: parameters for parameters in read}
    signatures = [read_signature(parsed.data, parsed.coding, item) for item in _items(parsed, DIGITAL_SIGNATURES)]
    return [(by_number[signature.mac_number], signature) for signature in signatures]


def _is_signed_already(
    earlier: Sequence[tuple[MacParameters, SignatureItem]], signer: Signer, options: SignOptions, tags: tuple[int, ...]
) -> bool:
    """Whether the last signature is this signer's, for this purpose, over all that may be signed."""
    if not earlier:
        return False
    parameters, last = earlier[-1]
    same_signer = last.certificate == signer.certificate_der and last.purpose == (options.purpose or "")
    return same_signer and parameters.tags == tags and MAC_NAMES[parameters.algorithm] == options.mac


def _items(parsed: ParsedObject, tag: int) -> tuple[Item, ...]:
    element = parsed.find(tag)
    return () if element is None or element.items is None else element.items
