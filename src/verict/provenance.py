"""What produced a result: version, libraries, platform, time and options, without naming machine or user."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import verict
from verict.errors import InputError

LIBRARIES = (
    "numpy",
    "scipy",
    "pydicom",
    "pyjpegls",
    "pylibjpeg",
    "pylibjpeg-openjpeg",
    "imagecodecs",
    "pillow",
    "onnxruntime",
    "jinja2",
)
"""The packages whose versions can change a result; one that is not installed is given as None."""


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file's bytes as 64 lower-case hexadecimal digits (FIPS 180-4).

    Raises
    ------
    InputError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "empty"
    ...     path.touch()
    ...     sha256_of(path)[:8]
    'e3b0c442'
    """
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            "the file cannot be read", file=path, found=error.strerror, next_step="check that it exists and its rights"
        ) from error


def collect_provenance(
    options: Mapping[str, Any],
    *,
    models: Mapping[str, Mapping[str, str]] | None = None,
    utc: datetime | None = None,
) -> dict[str, Any]:
    """What somebody else needs to get the same result again.

    Host name, user name and paths of the machine are left out on purpose, so that a report may leave
    the hospital.

    Parameters
    ----------
    options
        The resolved options, defaults included. Values may be plain JSON values, enums, paths,
        dataclasses, and lists, tuples, sets or mappings of these.
    models
        For each learned detector its model's ``id``, ``version`` and ``sha256``, as in the model's card.
    utc
        The time to record, with its time zone; None: now.

    Returns
    -------
    dict
        JSON-ready, with the stable keys ``verict`` (version), ``python`` (version), ``platform``
        (system and processor family), ``libraries`` (name to version, None where not installed),
        ``utc`` (ISO 8601, whole seconds, ending in Z), ``options`` and ``models``.

    Raises
    ------
    TypeError
        If an option holds something that has no JSON form.
    ValueError
        If ``utc`` has no time zone.
    """
    when = datetime.now(UTC) if utc is None else utc
    if when.tzinfo is None:
        raise ValueError("utc has no time zone")
    return {
        "verict": verict.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libraries": dict(_library_versions()),
        "utc": when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "options": {str(name): _to_json(value) for name, value in options.items()},
        "models": {name: dict(card) for name, card in (models or {}).items()},
    }


@cache
def _library_versions() -> tuple[tuple[str, str | None], ...]:
    return tuple((name, _version_of(name)) for name in LIBRARIES)


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _to_json(value: Any) -> Any:
    if isinstance(value, Enum):
        return _to_json(value.value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if is_dataclass(value) and not isinstance(value, type):
        return _to_json(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_to_json(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    raise TypeError(f"no JSON form for {type(value).__name__}")
