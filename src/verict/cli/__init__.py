"""The command line: parses, calls, prints. No logic."""

import os

# Slices run in parallel already. The linear algebra library would start as many threads again for each of
# them, which doubles the time of a scan; it reads these once, when numpy is first imported.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
