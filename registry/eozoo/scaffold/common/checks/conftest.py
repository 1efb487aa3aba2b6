"""One thread: two on a busy machine can be many times slower than one."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
