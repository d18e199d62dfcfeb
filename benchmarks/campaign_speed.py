"""Peak memory and pace of `verict tamper campaign`, and a kill half-way that must change no byte.

Run from the project folder. The campaign is made twice: once in one go, measured; once killed (SIGKILL) when half its
scans are there, and taken up again. All files of both are compared by SHA-256. What was made in one go stays in OUT.

    python benchmarks/campaign_speed.py OUT --scans ../shared/data/authentic --scans PHANTOMS --n 200 --seed 7
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from measuring import keep_result, run_python

from verict.datasets.campaigns import CAMPAIGN_FILE, SCANS_FOLDER
from verict.tamper.campaign.store import PLAN_FILE, WORK_FOLDER

CAMPAIGN = ["-c", "from verict.cli.main import app; app()", "tamper", "campaign"]
LOOK_EVERY_S = 0.2


def hash_all(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its name."""
    hashes = {}
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        with file.open("rb") as stream:
            hashes[file.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes


def kill_half_way(arguments: list[str], out: Path) -> tuple[int, int]:
    """Start the campaign, kill it when half of its scans are there; gives these and how many were planned.

    Raises
    ------
    RuntimeError
        If it ends before.
    """
    with subprocess.Popen([sys.executable, *CAMPAIGN, *arguments], stderr=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL) as process:
        planned = made = 0
        while process.poll() is None:
            plan = out / WORK_FOLDER / PLAN_FILE
            if plan.is_file():
                planned = planned or len(json.loads(plan.read_text("ascii"))["scans"])
                made = len(list((out / SCANS_FOLDER).glob("*")))
                if 2 * made >= planned:
                    process.kill()
                    process.wait()
                    return len(list((out / SCANS_FOLDER).glob("*"))), planned
            time.sleep(LOOK_EVERY_S)
    raise RuntimeError(f"the campaign ended with {process.returncode} before half of its scans were made")


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Both runs, and whether they gave the same bytes."""
    common = [*(part for folder in options.scans for part in ("--scans", str(folder))), "--n", str(options.n),
              "--seed", str(options.seed), "--workers", str(options.workers)]
    for name in ("methods", "touchups"):
        common += [f"--{name}", getattr(options, name)] if getattr(options, name) else []
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    whole = run_python([*CAMPAIGN, *common, "--out", str(options.out)])
    print(whole.output)
    document = json.loads((options.out / CAMPAIGN_FILE).read_text("ascii"))
    killed = options.out.with_name(f"{options.out.name}-killed")
    shutil.rmtree(killed, ignore_errors=True)
    at_kill, planned = kill_half_way([*common, "--out", str(killed)], killed)
    resumed = run_python([*CAMPAIGN, *common, "--out", str(killed)])
    print(resumed.output)
    same = hash_all(options.out) == hash_all(killed)
    shutil.rmtree(killed)
    return {
        "campaign": document["sha256"],
        "rows": sum(document["counts"]["rows"].values()),
        "scans": len(document["scans"]),
        "sources": len(document["sources"]),
        "wall_s": round(whole.wall_s, 1),
        "cpu_s": round(whole.cpu_s, 1),
        "rows_a_minute": round(60 * options.n / whole.wall_s, 1),
        "rows_a_minute_of_cpu": round(60 * options.n / whole.cpu_s, 1),
        "peak_mib": round(whole.peak_mib),
        "load_before": load,
        "killed_at_scans": [at_kill, planned],
        "resumed_wall_s": round(resumed.wall_s, 1),
        "identical_files": len(hash_all(options.out)) if same else 0,
    }


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="new folder for the campaign made in one go")
    parser.add_argument("--scans", type=Path, action="append", required=True, metavar="DIR", help="as for the command")
    parser.add_argument("--n", type=int, default=24, help="rows (default 24)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--methods", metavar="A,B")
    parser.add_argument("--touchups", metavar="A,B")
    options = parser.parse_args()
    figures = measure(options)
    print(json.dumps(figures, indent=1))
    asked = {"n": options.n, "seed": options.seed, "workers": options.workers, "methods": options.methods,
             "touchups": options.touchups}
    print(f"kept in {keep_result('campaign_speed', asked, figures)}")
    if not figures["identical_files"]:
        sys.exit("the killed and resumed campaign differs from the one made in one go")


if __name__ == "__main__":
    main()
