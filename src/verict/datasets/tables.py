"""Small CSV tables with a known header, read tolerantly and refused clearly."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from verict.errors import DatasetError

MAXIMUM_BYTES = 16 * 2**20  # a label table has a few hundred rows; anything larger is another file
_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,9}(\.[0-9]{0,15})?|\.[0-9]{1,15})")


@dataclass(frozen=True)
class TableRow:
    """One line of a table: its fields by column, blanks stripped, and where it stands."""

    file: Path
    line: int
    fields: dict[str, str]

    def text(self, column: str, expected: str) -> str:
        """The field of a column.

        Raises
        ------
        DatasetError
            If the field is empty.
        """
        if not self.fields[column]:
            raise self.refuse(column, expected)
        return self.fields[column]

    def whole(self, column: str) -> int:
        """The field of a column as a whole number, 0 or more, plain digits only.

        Raises
        ------
        DatasetError
            If it is anything else (``3.0``, ``-1``, ``1e3`` and blanks included).
        """
        if not _WHOLE.fullmatch(self.fields[column]):
            raise self.refuse(column, "a whole number, 0 or more")
        return int(self.fields[column])

    def decimal(self, column: str) -> float:
        """The field of a column as a finite decimal number.

        Raises
        ------
        DatasetError
            If it is anything else (``nan`` and ``inf`` included).
        """
        if not _DECIMAL.fullmatch(self.fields[column]):
            raise self.refuse(column, "a decimal number")
        return float(self.fields[column])

    def refuse(self, column: str, expected: str) -> DatasetError:
        """The error that tells file, line, column, found and expected."""
        found = self.fields[column]
        return DatasetError(
            f"line {self.line}, column {column}: cannot be used",
            file=self.file,
            found=repr(found) if found else "an empty field",
            expected=expected,
        )


def read_table(file: Path, columns: Sequence[str]) -> tuple[TableRow, ...]:
    """Read a comma-separated table that must have exactly the given columns, in any order.

    Accepted without complaint: a byte order mark, any line ends, blanks around fields, quoted fields,
    blank lines, a missing newline at the end, and column names in any case.

    Parameters
    ----------
    file
        The table, UTF-8, at most 16 MiB.
    columns
        The names its header must have, in lower case.

    Returns
    -------
    tuple of TableRow
        In the order of the file; possibly none.

    Raises
    ------
    DatasetError
        If the file cannot be read or decoded, the header lacks a column, names one twice or has
        another, or a line has too few or too many fields.
    """
    text = _read_text(file)
    rows: list[TableRow] = []
    header: list[str] | None = None
    reader = csv.reader(StringIO(text, newline=""), skipinitialspace=True)
    try:
        for record in reader:
            fields = [field.strip() for field in record]
            if not any(fields):
                continue
            if header is None:
                header = _check_header(file, reader.line_num, fields, columns)
            elif len(fields) != len(header):
                raise DatasetError(
                    f"line {reader.line_num}: {'missing' if len(fields) < len(header) else 'extra'} columns",
                    file=file,
                    found=f"{len(fields)} fields",
                    expected=f"{len(header)}: {','.join(header)}",
                )
            else:
                rows.append(TableRow(file, reader.line_num, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        raise DatasetError(f"line {reader.line_num}: not a CSV table", file=file, found=error) from error
    if header is None:
        raise DatasetError("the table is empty", file=file, expected=f"the header {','.join(columns)}")
    return tuple(rows)


def _read_text(file: Path) -> str:
    try:
        if (size := file.stat().st_size) > MAXIMUM_BYTES:
            raise DatasetError("too large to be a label table", file=file, found=f"{size} bytes",
                               expected=f"at most {MAXIMUM_BYTES}")
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError("not a text table", file=file, found=f"byte {error.object[error.start]:#04x} at "
                           f"{error.start}", expected="UTF-8", next_step="save it as CSV in UTF-8") from error
    except OSError as error:
        raise DatasetError("the table cannot be read", file=file, found=error.strerror) from error


def _check_header(file: Path, line: int, fields: list[str], columns: Sequence[str]) -> list[str]:
    header = [field.casefold() for field in fields]
    wrong = [f"missing column {c}" for c in columns if c not in header]
    wrong += [f"extra column {c or '(no name)'}" for c in dict.fromkeys(header) if c not in columns]
    wrong += [f"column {c} twice" for c in columns if header.count(c) > 1]
    if wrong:
        raise DatasetError(f"line {line}: {', '.join(wrong)}", file=file, found=",".join(fields),
                           expected=",".join(columns))
    return header
