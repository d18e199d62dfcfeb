"""Time and peak memory of a command in its own process, and results kept by machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from verict.provenance import collect_provenance

RESULTS = Path(__file__).parent / "results"
SHARED = Path(os.environ.get("VERICT_SHARED") or Path(__file__).resolve().parents[2] / "shared")
LONGEST_SERIES = SHARED / "data" / "authentic" / "lidc-0314-philips-D"  # 275 slices of 512 x 512, JPEG-LS


# Starts the command from a process of a few MiB: a child's peak memory begins at that of the process that
# started it (Linux keeps the high-water mark across exec), and the benchmark's own would hide a small one.
_LAUNCH = """
import json, os, sys, time
start = time.perf_counter()
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[2:]], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), time.perf_counter() - start,
               usage.ru_utime + usage.ru_stime, usage.ru_maxrss], file)
"""


@dataclass(frozen=True)
class Measured:
    """One run of a command: exit code, wall seconds, CPU seconds, peak resident MiB, and its standard output.

    The peak is that of the largest single process, as the operating system kept it.
    """

    exit_code: int
    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str


def run_python(arguments: list[str], *, accepted: tuple[int, ...] = (0,)) -> Measured:
    """Run this Python with the arguments, alone, and measure it.

    Raises
    ------
    RuntimeError
        If it ends with an exit code that is not accepted; its standard error is in the message.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "measured.json"
        command = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(kept), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        exit_code, wall_s, cpu_s, peak = json.loads(kept.read_text("utf-8")) if kept.exists() else (-1, 0, 0, 0)
    if exit_code not in accepted:
        raise RuntimeError(f"{arguments} ended with {exit_code}:\n{done.stderr[-2000:]}")
    kib = peak / (1024 if sys.platform == "darwin" else 1)
    return Measured(exit_code, wall_s, cpu_s, kib / 1024, done.stdout)


def describe_machine() -> dict[str, object]:
    """CPU model, usable cores and memory: what a figure depends on, without the machine's name."""
    model = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpu_info.read_text(), re.MULTILINE)
        model = found[1].strip() if found else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": model, "cores": cores, "memory_gib": round(memory_gib), "system": platform.system()}


def keep_result(benchmark: str, options: dict[str, object], figures: object) -> Path:
    """Put a benchmark's figures into this machine's file, in place of its earlier ones."""
    machine = describe_machine()
    name = re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cores']} cores".lower()).strip("-")
    path = RESULTS / f"{name}.json"
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    kept["machine"] = machine
    kept[benchmark] = {"provenance": collect_provenance(options), "figures": figures}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    return path
