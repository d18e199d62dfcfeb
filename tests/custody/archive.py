"""A real archive for tests: Orthanc on the loopback address, with storage of its own that goes with it."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.uid import CTImageStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import PatientRootQueryRetrieveInformationModelGet

LOOPBACK, TITLE = "127.0.0.1", "VERICTTEST"
START_S, STOP_S = 30, 15


@dataclass(frozen=True)
class Archive:
    """A running archive and its ports."""

    dicom_port: int
    http_port: int

    def store(self, files: Sequence[Path], transfer_syntax: str) -> None:
        """Send files by C-STORE, over a presentation context of one transfer syntax only."""
        entity = AE(ae_title=TITLE)
        entity.add_requested_context(CTImageStorage, transfer_syntax)
        association = entity.associate(LOOPBACK, self.dicom_port, ae_title="ORTHANC", bind_address=(LOOPBACK, 0))
        assert association.is_established
        for file in files:
            status = association.send_c_store(pydicom.dcmread(file))
            assert status.Status == 0x0000
        association.release()

    def fetch(self, series_uid: str, folder: Path, transfer_syntax: str) -> list[Path]:
        """Get a series back by C-GET, each object byte for byte as the archive sends it."""
        folder.mkdir()
        files: list[Path] = []

        def receive(event: evt.Event) -> int:
            files.append(folder / f"{len(files)}.dcm")
            files[-1].write_bytes(event.encoded_dataset())
            return 0x0000

        entity = AE(ae_title=TITLE)
        entity.add_requested_context(PatientRootQueryRetrieveInformationModelGet)
        entity.add_requested_context(CTImageStorage, transfer_syntax)
        association = entity.associate(
            LOOPBACK, self.dicom_port, ae_title="ORTHANC", bind_address=(LOOPBACK, 0),
            ext_neg=[build_role(CTImageStorage, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, receive)],
        )  # fmt: skip
        assert association.is_established
        query = pydicom.Dataset()
        query.QueryRetrieveLevel, query.SeriesInstanceUID = "SERIES", series_uid
        for status, _ in association.send_c_get(query, PatientRootQueryRetrieveInformationModelGet):
            assert status.Status in (0x0000, 0xFF00)
        association.release()
        return files

    def download(self, folder: Path) -> list[Path]:
        """Every file that the archive holds, by its REST interface."""
        folder.mkdir()
        files = []
        for number, name in enumerate(json.loads(self._get("instances"))):
            files.append(folder / f"{number}.dcm")
            files[-1].write_bytes(self._get(f"instances/{name}/file"))
        return files

    def transcode(self, folder: Path, transfer_syntax: str) -> list[Path]:
        """Every object that the archive holds, as it writes it in another transfer syntax."""
        folder.mkdir()
        order = {"Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"], "Force": True,
                 "Transcode": transfer_syntax}  # fmt: skip
        files = []
        for number, name in enumerate(json.loads(self._get("instances"))):
            files.append(folder / f"{number}.dcm")
            files[-1].write_bytes(self._get(f"instances/{name}/modify", json.dumps(order).encode()))
        return files

    def is_ready(self) -> bool:
        """Whether it answers yet."""
        try:
            return bool(self._get("system"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def _get(self, path: str, data: bytes | None = None) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{LOOPBACK}:{self.http_port}/{path}", data, timeout=30) as answer:
            return bytes(answer.read())


@contextmanager
def run_archive(program: Path, folder: Path, *, dicom_port: int, http_port: int) -> Iterator[Archive]:
    """Start Orthanc, wait until it answers, and end it; nobody but this machine can reach it."""
    settings = {
        "Name": "TEST",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [],
        "HttpPort": http_port,
        "HttpBindAddresses": [LOOPBACK],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomPort": dicom_port,
        "DicomAet": "ORTHANC",
        "DicomModalities": {"test": {"AET": TITLE, "Host": LOOPBACK, "Port": 1, "AllowStore": True, "AllowGet": True}},
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": True,
        "OverwriteInstances": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [program, folder / "orthanc.json"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        archive = Archive(dicom_port, http_port)
        end = time.monotonic() + START_S
        while not archive.is_ready():
            assert process.poll() is None, "Orthanc ended at once"
            assert time.monotonic() < end, "Orthanc does not answer"
            time.sleep(0.1)
        yield archive
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
