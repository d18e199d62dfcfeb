"""`verict scan`: say of studies what they show and whether they bear traces of tampering."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from verict.cli.scan_custody import Custody, check_signature_file, examine_study, open_custody, sign_text
from verict.cli.terminal import INTERRUPTED, exit_on_error, make_streams_forgiving, open_stdout, show_progress, tell
from verict.detect import registry
from verict.detect.result import Failure, ScanResult
from verict.errors import InputError, OutputError, UsageError, VerictError, say_count
from verict.provenance import collect_provenance
from verict.report.anonymise import anonymise_result, name_study
from verict.report.custody import anonymise_custody, could_not_be_examined, exit_code_of
from verict.report.html import to_html
from verict.report.json import to_text
from verict.report.output import OutputFile, check_output_file, make_output_folder, write_text
from verict.report.table import StudyRow, render_studies, render_summary, summarise_study

if TYPE_CHECKING:
    from verict.custody.conclusion import StudyCustody
    from verict.detect.scan import ScanOptions

ERRORS_SHOWN = 20
PRECEDENCE = (10, 1, 11, 0)  # which exit code stands for several studies, the first that occurs
STDOUT = "-"


@dataclass(frozen=True)
class _Job:
    """What was asked for, checked. ``many``: NDJSON, a folder of reports and one table for all studies."""

    studies: tuple[Path, ...]
    many: bool
    json: Path | None
    report: Path | None
    options: ScanOptions
    anonymous: bool
    quiet: bool
    custody: Custody

    @property
    def json_to_stdout(self) -> bool:
        """Whether the JSON takes the place of the summary."""
        return self.json is not None and str(self.json) == STDOUT

    @property
    def partial_json(self) -> Path:
        """Where the finished lines of an interrupted batch are kept."""
        return Path(f"{self.json}.partial")


def scan(
    *,
    studies: Annotated[
        list[Path],
        typer.Argument(metavar="STUDY", help="A DICOM file, a folder of them (any depth), or a zip.",
                       show_default=False),
    ],
    json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False,
                     help="Write the result as JSON, schema verict.scan/1; - writes it to standard output in place of "
                          "the summary. Over many studies: NDJSON, one line each."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", show_default=False,
                     help="Write one self-contained HTML page. Over many studies: a folder, one page each, named by "
                          "number and by the hash of the input."),
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(metavar="UID", show_default=False, help="Examine only the series of this SeriesInstanceUID."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default=False,
                     help=f"Run only this detector; may be repeated. Known: {', '.join(registry.names())}."),
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Take each sub-folder and each zip of STUDY as a study of its own.")
    ] = False,
    anonymous: Annotated[
        bool,
        typer.Option("--anonymous", help="Leave every patient attribute, date, path and UID out of all output."),
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default=False, help="Threads that decode slices.")
    ] = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option(metavar="CA.pem", show_default=False,
                     help="Verify the signatures of the study too, and trust those issued under this certificate; may "
                          "be repeated."),
    ] = None,
    manifest: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", show_default=False,
                     help="Compare the study with this signed manifest, see verict sign; may be repeated. With --trust "
                          "alone those beside the study are taken."),
    ] = None,
    sign_report: Annotated[
        bool,
        typer.Option("--sign-report", help="Sign the report and the JSON: a detached signature beside each, .p7s."),
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Private key for --sign-report: PEM or PKCS #12."),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Its certificate, unless --key is PKCS #12."),
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Its first line opens the key; unless given, it is asked "
                     "for."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors: no summary, no progress.")] = False,
) -> None:
    """Examine CT studies: what they show, and whether to believe it.

    Of each series two things are said, apart from each other:
    whether it bears traces of tampering;
    whether it shows what looks like a lung cancer, real or painted.

    Each nodule and each marked region is weighed by both. This is no diagnosis.

    Several STUDY arguments, or --each, examine many studies: one that fails does not stop the others.

    The result goes to standard output, errors and progress to standard error.

    Exit codes, 10 before 1 before 11 before 0 where several apply:
    0 no evidence of tampering (which never means proven authentic);
    10 suspicious, or a signature that does not hold;
    11 indeterminate or nothing examined;
    1 some input failed;
    2 wrong usage, or an output that cannot be written;
    130 interrupted.

    They are about tampering only: a cancer that is shown does not change them.
    """
    make_streams_forgiving()
    with exit_on_error("scan", interrupted="interrupted; no output file was written or changed"):
        options = _choose_options(detector, series=series, workers=workers, pictures=report is not None)
        job = _Job(_list_studies(studies, each=each), each or len(studies) > 1, json, report, options, anonymous, quiet,
                   Custody())  # fmt: skip
        _check_job(job, studies)
        if job.many and manifest:
            raise UsageError("--manifest names a manifest of one study", next_step="give one STUDY, without --each")
        custody = open_custody(trust or [], manifest or [], sign=sign_report, key=key, cert=cert,
                               passphrase_file=passphrase_file)  # fmt: skip
        job = replace(job, custody=custody)
        _check_signatures(job, studies)
        raise typer.Exit(_scan_many(job) if job.many else _scan_one(job))


def _choose_options(
    detectors: list[str] | None, *, series: str | None, workers: int | None, pictures: bool
) -> ScanOptions:
    """The options of every study, detector names checked before any work."""
    from verict.detect.scan import ScanOptions  # brings in onnxruntime, which --help can do without

    for name in detectors or ():
        registry.check_name(name)
    chosen = tuple(dict.fromkeys(detectors or registry.DEFAULT))
    return ScanOptions(detectors=chosen, series=series, workers=workers, pictures=pictures)


def _list_studies(given: list[Path], *, each: bool) -> tuple[Path, ...]:
    """The studies to examine: as given, or what lies directly in the given folders."""
    if not each:
        return tuple(given)
    studies: list[Path] = []
    for folder in given:
        try:
            entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        except OSError as error:
            raise UsageError(
                "--each needs a folder that can be listed", file=folder, found=error.strerror,
                next_step="name the folder that holds the studies",
            ) from error
        taken = [p for p in entries if p.is_dir() or p.suffix.lower() == ".zip"]
        if not taken:
            raise UsageError("--each found no sub-folder and no zip", file=folder, next_step="leave --each out")
        if len(taken) < len(entries):
            left_out = say_count(len(entries) - len(taken), "file")
            tell("scan", f"{folder}: --each leaves out {left_out} beside the studies")
        studies += taken
    return tuple(studies)


def _check_job(job: _Job, inputs: list[Path]) -> None:
    """Everything that can be wrong with the options, before the long work."""
    if job.many and job.options.series:
        raise UsageError("--series names a series of one study", next_step="give one STUDY, without --each")
    if any(output is not None and output.is_file() for output in (job.json, job.report)):
        from verict.custody.seal import list_custody_files

        inputs = [*inputs, *(path for study in job.studies for path in list_custody_files(study))]
    if job.json is not None and not job.json_to_stdout:
        check_output_file(job.json, inputs)
        if job.many:
            check_output_file(job.partial_json, inputs)
    if job.report is not None:
        if str(job.report) == STDOUT:
            raise UsageError("--report needs a file", next_step="only --json takes -")
        if job.json is not None and job.report.absolute() == job.json.absolute():
            raise UsageError("--json and --report name the same file", file=job.report)
        if job.many:
            make_output_folder(job.report, inputs)
        else:
            check_output_file(job.report, inputs)


def _check_signatures(job: _Job, inputs: list[Path]) -> None:
    """Everything that can be wrong with signing the output, before the long work."""
    if job.custody.signer is None:
        return
    files = [job.json] if job.json is not None and not job.json_to_stdout else []
    files += [job.report] if job.report is not None and not job.many else []
    if not files and job.report is None:
        raise UsageError("--sign-report has nothing to sign", next_step="give --report FILE or --json FILE")
    for file in files:
        check_signature_file(file, inputs)


def _scan_one(job: _Job) -> int:
    """One study: a JSON document, a page, a summary."""
    with _open_progress(job) as progress:
        result, custody = _examine(job.studies[0], job, progress)
    _tell_failures(result, job, "")
    if could_not_be_examined(custody):
        failures = anonymise_custody(custody, result) if job.anonymous else custody
        tell("scan", f"custody could not be examined: {failures.failures[0].one_line() if failures else ''}")
    if job.json_to_stdout:
        sys.stdout.write(to_text(result, anonymous=job.anonymous, custody=custody))
    elif job.json is not None:
        _write(job, job.json, to_text(result, anonymous=job.anonymous, custody=custody))
    if job.report is not None:
        _write(job, job.report, to_html(result, anonymous=job.anonymous, custody=custody))
    code = exit_code_of(result, custody)
    if not job.quiet and not job.json_to_stdout:
        if job.anonymous:
            custody, result = anonymise_custody(custody, result), anonymise_result(result)
        open_stdout().print(render_summary(result, custody))
    return code


def _write(job: _Job, path: Path, text: str) -> None:
    write_text(path, text)
    sign_text(job.custody, path, text)


def _scan_many(job: _Job) -> int:
    """Many studies: a line of JSON and a page each as soon as it is done, then one table."""
    rows: list[StudyRow] = []
    written: list[str] = []
    with ExitStack() as stack:
        lines = None
        if job.json is not None and not job.json_to_stdout:
            lines = stack.enter_context(OutputFile(job.json))
        progress = stack.enter_context(_open_progress(job))
        try:
            for number, study in enumerate(job.studies, start=1):
                result, custody = _examine(study, job, progress, f"{number}/{len(job.studies)} ")
                row, text = _deliver((study, number), (result, custody), job, lines)
                rows.append(row)
                written += [text] if job.custody.signer is not None else []
        except KeyboardInterrupt:
            if not rows:
                raise
            kept = ""
            if lines is not None:
                lines.keep_as(job.partial_json)
                kept = f"; they are in {job.partial_json}"
            tell("scan", f"interrupted after {len(rows)} of {len(job.studies)} studies{kept}")
            return INTERRUPTED
    if job.json is not None and lines is not None:
        sign_text(job.custody, job.json, "".join(written))
    if not job.quiet and not job.json_to_stdout:
        open_stdout().print(render_studies(rows))
    return next(code for code in PRECEDENCE if any(row.exit_code == code for row in rows))


def _deliver(
    named: tuple[Path, int], found: tuple[ScanResult, StudyCustody | None], job: _Job, lines: OutputFile | None
) -> tuple[StudyRow, str]:
    """Write what is wanted of one study of many, and keep the row of the table and the line of JSON."""
    (study, number), (result, custody) = named, found
    _tell_failures(result, job, f"study {number}: ")
    text = ""
    if job.json is not None:
        text = to_text(result, anonymous=job.anonymous, one_line=True, custody=custody)
    if job.report is not None:
        page = job.report / f"{number:04d}-{name_study(result)}.html"
        _write(job, page, to_html(result, anonymous=job.anonymous, custody=custody))
    if lines is not None:
        lines.write(text)
    elif text:
        sys.stdout.write(text)
        sys.stdout.flush()
    if job.anonymous:
        return summarise_study(anonymise_result(result), name_study(result), custody), text
    return summarise_study(result, str(study), custody), text


def _examine(
    study: Path, job: _Job, progress: Callable[[str, int, int], None] | None, prefix: str = ""
) -> tuple[ScanResult, StudyCustody | None]:
    """Examine one study; an input that fails as a whole becomes a result that says so."""
    from verict.detect.scan import examine

    def show(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(prefix + stage, done, total)

    try:
        result = examine(study, job.options, progress=show)
    except (UsageError, OutputError):
        raise
    except VerictError as error:
        result = _fail(study, job, error)
    except OSError as error:
        result = _fail(study, job, InputError(error.strerror or "cannot be read", file=error.filename or study))
    return result, examine_study(job.custody, study, show)


def _fail(study: Path, job: _Job, error: VerictError) -> ScanResult:
    options = replace(job.options, pictures=False)
    return ScanResult(
        source=str(study),
        series=(),
        not_examined=(),
        failures=(Failure(error.one_line(), error.as_dict()),),
        provenance=collect_provenance(asdict(options)),
    )


def _tell_failures(result: ScanResult, job: _Job, prefix: str) -> None:
    """Each failure on a line of its own; a long list is cut and says so."""
    shown = anonymise_result(result) if job.anonymous else result
    for failure in shown.failures[:ERRORS_SHOWN]:
        tell("scan", prefix + failure.message)
    hidden = len(shown.failures) - ERRORS_SHOWN
    if hidden > 0:
        tell("scan", f"{prefix}and {hidden} more failures; the JSON and the report list all")


def _open_progress(job: _Job) -> AbstractContextManager[Callable[[str, int, int], None] | None]:
    """A progress display on standard error, None where that is no terminal or nobody wants it."""
    return nullcontext() if job.quiet or not sys.stderr.isatty() else show_progress()
