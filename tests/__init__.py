"""The tests. Run in parallel, each process has its share of the processors and takes no more."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    # NumPy's BLAS and joblib read these when they are first imported; so do processes that a test starts.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        os.environ.setdefault(name, str(max(1, share)))
