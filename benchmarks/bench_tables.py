"""The finished experiments of one `verict bench` output folder as one set of tables, put into a document.

Run from the project folder::

    python benchmarks/bench_tables.py OUT --write docs/bench.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from verict.benchmarks.entries import Experiment
from verict.benchmarks.table import to_markdown
from verict.documents import replace_part

START, END = "<!-- bench: start -->", "<!-- bench: end -->"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and put them between the marks of a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="what verict bench was given as --out")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the tables between {START} and {END}")
    options = parser.parse_args(arguments)
    files = [options.out / str(experiment) / "results.json" for experiment in Experiment]
    table = to_markdown([json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()])
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(replace_part(text, START, END, f"\n\n{table}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
