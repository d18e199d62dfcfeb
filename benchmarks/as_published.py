"""A campaign of the lab labelled as the published set is: every TB row at slice, x, y = 0, 0, 0.

The scans are those of the campaign, as hard links where the disk allows it; only the label table differs. That is what
makes the published mistake of cutting a cuboid at voxel (0, 0, 0) visible on the lab's own scans.

    python benchmarks/as_published.py CAMPAIGN OUT
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from verict.datasets.campaigns import CAMPAIGN_FILE, LABEL_FILE
from verict.datasets.uci import COLUMNS, SiteType, read_labels


def relabel(campaign: Path, out: Path) -> int:
    """Make the copy; gives how many rows lost their place."""
    for source in sorted(path for path in campaign.rglob("*") if path.is_file()):
        relative = source.relative_to(campaign)
        target = out / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if relative.as_posix() in (LABEL_FILE, CAMPAIGN_FILE):
            shutil.copyfile(source, target)
        else:
            try:
                os.link(source, target)
            except OSError:  # another disk, or one without links
                shutil.copyfile(source, target)
    rows = read_labels(campaign / LABEL_FILE, 1)
    lines = [",".join(COLUMNS)]
    for row in rows:
        at = (0, 0, 0) if row.type is SiteType.TB else (row.slice, row.x, row.y)
        lines.append(",".join(map(str, (row.type, row.uuid, *at))))
    (out / LABEL_FILE).write_text("\n".join([*lines, ""]), encoding="utf-8")
    return sum(row.type is SiteType.TB for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy and say what changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path, help="folder that verict tamper campaign made")
    parser.add_argument("out", type=Path, help="new folder")
    options = parser.parse_args(arguments)
    print(f"{relabel(options.campaign, options.out)} rows name no place now")


if __name__ == "__main__":
    main()
