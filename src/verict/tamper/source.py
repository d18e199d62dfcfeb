"""The one series a forgery is made of, or a clear word on why there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from verict.ct.discover import Discovery, SeriesFiles, find_series
from verict.ct.read import read_series
from verict.ct.volume import CTVolume
from verict.ct.write import check_copyable
from verict.errors import InputError, say_count

LISTED = 4  # series named in an error
Progress = Callable[[str, int, int], None]


def read_source(path: Path, *, progress: Progress | None = None) -> CTVolume:
    """Read the only CT series of a file, a folder tree or a zip, whole.

    Parameters
    ----------
    path
        Holds exactly one CT series; scouts, reports and files that are no DICOM do not count.
    progress
        Called with (what is done, how far, of how many).

    Raises
    ------
    InputError
        If there is no CT series or more than one, a file of it cannot be read, or it cannot be copied slice by slice
        (multi-frame files).
    """
    report = progress or (lambda *_: None)
    found = find_series(path, progress=lambda done, total: report("looking for series", done, total))
    series = _only_series(found, path)
    volume = read_series(series, progress=lambda done, total: report("reading slices", done, total))
    _refuse_loss((*found.failures, *volume.failures), path)
    check_copyable(volume)
    return volume


def _only_series(found: Discovery, path: Path) -> SeriesFiles:
    if len(found.series) == 1:
        return found.series[0]
    if found.series:
        same_folder = len({s.label for s in found.series}) < len(found.series)
        listed = [_describe(s, with_uid=same_folder) for s in found.series[:LISTED]]
        more = ["…"] if len(found.series) > LISTED else []
        raise InputError(
            f"{len(found.series)} CT series here, one is needed", file=path, found=", ".join(listed + more),
            next_step="copy one of them to a folder of its own" if same_folder else "name the folder of one of them",
        )
    if found.failures:
        raise found.failures[0]
    aside = ", ".join(f"{item.what} ({item.reason})" for item in found.not_examined[:LISTED])
    raise InputError("no CT series here", file=path, found=aside or "nothing", expected="an axial CT of the chest",
                     next_step="name the folder that holds the slices")


def _describe(series: SeriesFiles, *, with_uid: bool) -> str:
    uid = f" {series.series_instance_uid}" if with_uid else ""
    return f"{series.label}{uid} ({say_count(len(series.items), 'file')})"


def _refuse_loss(failures: tuple[InputError, ...], path: Path) -> None:
    if failures:
        raise InputError(
            f"{say_count(len(failures), 'file')} of the series cannot be read", file=path, found=failures[0].one_line(),
            expected="a whole series", next_step="copy or export it again: what is forged is written whole",
        )
