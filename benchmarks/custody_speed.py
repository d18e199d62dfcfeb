"""What signing and verifying a series costs beside the bare minimum, and beside DCMTK's dcmsign.

Run it alone: ``python benchmarks/custody_speed.py [--repeats 5]``.

The reference of signing is the sum of reading the bytes, hashing them once and the bare private-key operations, one
after another in the same run; of verifying, with the public-key operations. ``signing`` and ``verifying`` are
`sign_bytes` and `verify_bytes` with reading; ``sign_study`` also writes every file through to the disk, which the
reference does not, so the same bytes written through as plainly stand beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from measuring import LONGEST_SERIES, describe_machine, keep_result, run_python
from series import write_uncompressed

from verict.custody.keys import Signer, certificates_pem, key_pem, make_certificate, make_key
from verict.custody.sign_object import SignOptions, sign_bytes
from verict.custody.sign_study import sign_study
from verict.custody.trust import TrustStore
from verict.custody.verify_object import ObjectState, verify_bytes
from verict.custody.verify_study import verify_study

SHA256 = utils.Prehashed(hashes.SHA256())


def time_s(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of some work; waiting, for the disk or for a core that others use, is wall only."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


def bare_signing(files: list[Path], signer: Signer) -> None:
    """Of each file in turn: read, hash, private key; nothing else."""
    for path in files:
        signer.sign_digest(hashlib.sha256(path.read_bytes()).digest(), "sha256")


def bare_verifying(files: list[Path], key: rsa.RSAPublicKey, value: bytes, digest: bytes) -> None:
    """Of each file in turn: read, hash, public key; nothing else. The value is that of another digest."""
    for path in files:
        hashlib.sha256(path.read_bytes()).digest()
        key.verify(value, digest, padding.PKCS1v15(), SHA256)


def sign_all(files: list[Path], signer: Signer) -> None:
    """Read and sign, the results thrown away one by one."""
    for path in files:
        sign_bytes(path.read_bytes(), signer, SignOptions(), file=path.name)


def verify_all(files: list[Path], trust: TrustStore) -> None:
    """Read and verify."""
    for path in files:
        verify_bytes(path.read_bytes(), trust, file=path.name)


def write_through(files: list[Path], folder: Path) -> None:
    """Copies of files, each written through to the disk before the next."""
    folder.mkdir()
    for path in files:
        with (folder / path.name).open("xb") as file:
            file.write(path.read_bytes())
            file.flush()
            os.fsync(file.fileno())


def compare(folder: Path, scratch: Path, signer: Signer, trust: TrustStore, repeats: int) -> dict[str, object]:
    """Medians over interleaved rounds, after one unmeasured round that fills the file cache."""
    files = sorted(folder.glob("*.dcm"))
    public = signer.certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise TypeError("the benchmark's key is RSA")
    digest = hashlib.sha256(b"any").digest()
    value = signer.sign_digest(digest, "sha256")
    rounds: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, work: Callable[[], object]) -> None:
        rounds.setdefault(name, []).append(time_s(work))

    for number in range(repeats + 1):
        place = scratch / f"round-{number}"
        place.mkdir()
        note("bare_signing", lambda: bare_signing(files, signer))
        note("signing", lambda: sign_all(files, signer))
        note("write_through", lambda place=place: write_through(files, place / "plain"))
        note("sign_study", lambda place=place: sign_study(folder, place / "signed", signer, SignOptions()))
        signed = sorted((place / "signed").glob("*.dcm"))
        note("bare_verifying", lambda signed=signed: bare_verifying(signed, public, value, digest))
        note("verifying", lambda signed=signed: verify_all(signed, trust))
        verdicts = []
        note("verify_study", lambda place=place, v=verdicts: v.append(verify_study(place / "signed", trust)))
        if any(one.state is not ObjectState.VALID for one in verdicts[0].objects) or len(signed) != len(files):
            raise RuntimeError("what was signed does not verify")
        shutil.rmtree(place)
        if number == 0:
            rounds.clear()
    ms = {
        name: round(1000 * statistics.median(wall for wall, _ in seconds) / len(files), 3)
        for name, seconds in rounds.items()
    }
    compared = (("signing", "bare_signing"), ("sign_study", "bare_signing"), ("verifying", "bare_verifying"),
                ("verify_study", "bare_verifying"))  # fmt: skip
    return {
        "files": len(files),
        "ms_per_file": ms,
        "ratio_to_bare": {ours: _ratio(rounds[ours], rounds[bare], 0) for ours, bare in compared},
        "cpu_ratio_to_bare": {ours: _ratio(rounds[ours], rounds[bare], 1) for ours, bare in compared},
    }


def _ratio(ours: list[tuple[float, float]], bare: list[tuple[float, float]], kind: int) -> dict[str, float]:
    """Median, least and greatest of the ratios round by round, of wall (0) or CPU (1) seconds."""
    each = sorted(a[kind] / b[kind] for a, b in zip(ours, bare, strict=True))
    return {"median": round(statistics.median(each), 2), "min": round(each[0], 2), "max": round(each[-1], 2)}


def beside_dcmsign(folder: Path, scratch: Path, signer: Signer, root: bytes) -> dict[str, object] | None:
    """The commands themselves: one process of verict for all files, one of dcmsign for each; None without dcmsign."""
    tool = shutil.which("dcmsign")
    if tool is None:
        return None
    keys = {"key.pem": key_pem(signer.private_key, None), "cert.pem": certificates_pem([signer.certificate]),
            "root.pem": root}  # fmt: skip
    for name, data in keys.items():
        (scratch / name).write_bytes(data)
        (scratch / name).chmod(0o600)
    key, cert, ca = (str(scratch / name) for name in keys)
    run = ["-c", "from verict.cli.main import app; app()"]
    options = ["--key", key, "--cert", cert, "--out", str(scratch / "cli"), "--no-manifest", "--quiet"]
    ours_sign = run_python([*run, "sign", str(folder), *options]).wall_s
    ours_verify = run_python([*run, "verify", str(scratch / "cli"), "--trust", ca, "--quiet"]).wall_s
    (scratch / "theirs").mkdir()
    files = sorted(folder.glob("*.dcm"))

    def call(*arguments: str) -> None:
        subprocess.run([str(tool), *arguments], check=True, capture_output=True)

    theirs_sign = time_s(lambda: [call("+s", key, cert, "+m2", "+pc", str(p), str(scratch / "theirs" / p.name))
                                  for p in files])[0]  # fmt: skip
    theirs_verify = time_s(lambda: [call("+cf", ca, str(scratch / "theirs" / p.name)) for p in files])[0]
    return {
        "verict_sign_s": round(ours_sign, 2), "dcmsign_sign_s": round(theirs_sign, 2),
        "verict_verify_s": round(ours_verify, 2), "dcmsign_verify_s": round(theirs_verify, 2),
        "sign_times_faster": round(theirs_sign / ours_sign, 1),
        "verify_times_faster": round(theirs_verify / ours_verify, 1),
    }  # fmt: skip


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=Path, default=LONGEST_SERIES, help="a folder of one JPEG-LS series")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bits", type=int, default=3072, help="size of the RSA key")
    options = parser.parse_args()
    if not options.series.is_dir():
        sys.exit(f"{options.series} is missing: set VERICT_SHARED or give --series")

    print(describe_machine())
    root_key, key = make_key(bits=options.bits), make_key(bits=options.bits)
    root = Signer(root_key, make_certificate("Root", root_key, days=10, authority=True))
    signer = Signer(key, make_certificate("CT-1", key, days=10, issuer=root))
    trust = TrustStore((root.certificate,), at=datetime.now(UTC))
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        plain = write_uncompressed(options.series, scratch / "plain")
        for name, folder in (("uncompressed", plain), ("jpeg_ls", options.series)):
            figures[name] = compare(folder, scratch, signer, trust, options.repeats)
            print(name, figures[name], flush=True)
        pem = root.certificate.public_bytes(serialization.Encoding.PEM)
        figures["beside_dcmsign"] = beside_dcmsign(plain, scratch, signer, pem)
        print(figures["beside_dcmsign"])
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    kept = {"series": options.series.name, "repeats": options.repeats, "bits": options.bits, "load_at_the_end": load}
    path = keep_result("custody_speed", kept, figures)
    print(f"kept in {path.parent.name}/{path.name}")


if __name__ == "__main__":
    main()
