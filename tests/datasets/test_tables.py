from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verict.datasets.tables import MAXIMUM_BYTES, read_table
from verict.errors import DatasetError

COLUMNS = ("name", "count")


def fields(file):
    return [row.fields for row in read_table(file, COLUMNS)]


@pytest.mark.parametrize(
    "content",
    [
        b"name,count\na,1\nb,2\n",
        b"name,count\r\na,1\r\nb,2",
        b"name,count\ra,1\rb,2\r",
        b"\xef\xbb\xbfname,count\na,1\nb,2\n",
        b" name , count \n a , 1 \n\tb, 2\t\n",
        b'"name","count"\n"a","1"\n"b", "2"\n',
        b"NAME,Count\na,1\nb,2\n",
        b"count,name\n1,a\n2,b\n",
        b"\n\nname,count\n\na,1\n,\nb,2\n\n",
    ],
)
def test_harmless_variants_read_alike(tmp_path, content):
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    assert fields(file) == [{"name": "a", "count": "1"}, {"name": "b", "count": "2"}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the table is empty"),
        (b"\n , \n", "the table is empty"),
        (b"name\na\n", "line 1: missing column count"),
        (b"name,count,extra\na,1,2\n", "line 1: extra column extra"),
        (b"name,count,\na,1,\n", r"line 1: extra column \(no name\)"),
        (b"name,count,name\na,1,b\n", "line 1: column name twice"),
        (b"name;count\na;1\n", "missing column name, missing column count, extra column name;count"),
        (b"name,count\na,1\nb\n", "line 3: missing columns; found 1 fields; expected 2: name,count"),
        (b"name,count\na,1,7\n", "line 2: extra columns; found 3 fields"),
        (b"name,count\n\xff\xfe,1\n", "not a text table; found byte 0xff at 11; expected UTF-8"),
        ("name,count\na,1\n".encode("utf-16"), "not a text table"),
        (b'name,count\n"' + b"a" * 200_000 + b'",1\n', "line 2: not a CSV table"),
    ],
)
def test_unusable_tables_say_line_and_reason(tmp_path, content, words):
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=words) as caught:
        read_table(file, COLUMNS)
    assert caught.value.file == str(file)


def test_missing_and_huge_files_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read"):
        read_table(tmp_path / "none.csv", COLUMNS)
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as stream:
        stream.truncate(MAXIMUM_BYTES + 1)
    with pytest.raises(DatasetError, match="too large"):
        read_table(huge, COLUMNS)


@pytest.mark.parametrize("text", ["", "1.0", "-1", "+1", "1e3", "0x1", "1_000", "\u0661", "nan", "1" * 10, "1 2"])
def test_only_plain_digits_are_whole_numbers(tmp_path, text):
    file = tmp_path / "t.csv"
    file.write_text(f"name,count\nx,{text}\n", encoding="utf-8")
    (row,) = read_table(file, COLUMNS)
    with pytest.raises(DatasetError, match=r"line 2, column count: cannot be used.*a whole number, 0 or more"):
        row.whole("count")


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e3", "1,5", "--1", "."])
def test_only_plain_decimals_are_decimals(tmp_path, text):
    file = tmp_path / "t.csv"
    file.write_text(f'name,count\nx,"{text}"\n', encoding="utf-8")
    (row,) = read_table(file, COLUMNS)
    with pytest.raises(DatasetError, match="a decimal number"):
        row.decimal("count")


_NAMES = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="\ufeff"), min_size=1, max_size=20)


@given(st.lists(st.tuples(_NAMES, st.integers(0, 999_999_999)), max_size=20), st.booleans(), st.booleans())
def test_what_a_csv_writer_wrote_comes_back(tmp_path_factory, rows, with_mark, unix):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n" if unix else "\r\n")
    writer.writerows([COLUMNS, *rows])
    file = tmp_path_factory.getbasetemp() / "written.csv"
    file.write_bytes(text.getvalue().encode("utf-8-sig" if with_mark else "utf-8"))
    assert [(row.fields["name"], row.whole("count")) for row in read_table(file, COLUMNS)] == rows


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_as_dataset_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(content)
    try:
        rows = read_table(file, COLUMNS)
    except DatasetError as error:
        assert str(error).isprintable()
    else:
        assert all(set(row.fields) == set(COLUMNS) for row in rows)
