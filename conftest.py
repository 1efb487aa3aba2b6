"""One thread for every test: two on a busy machine can be 20 times slower than one."""

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; subprocesses inherit it
signal.signal(signal.SIGINT, signal.default_int_handler)  # a script that starts the tests in the background ignores it

from hypothesis import settings

# The longest files begin first, so that of two processes none has one left at the end.
LONGEST = (
    "tests/test_docs.py",
    "plugins/prithvi_refine/tests/test_conformance.py",
    "plugins/gedi_sparse/tests/test_conformance.py",
    "plugins/gedi_sparse/tests/test_ensemble.py",
    "plugins/gedi_sparse/tests/test_verbs.py",
    "plugins/clay_ta/tests/test_conformance.py",
    "tests/test_testing.py",
    "plugins/barlow_twins/tests/test_conformance.py",
    "plugins/prithvi_refine/tests/test_task.py",
    "plugins/prithvi_refine/tests/test_memory.py",
)


def pytest_collection_modifyitems(items):
    """Put the longest files first; within a file the order stays."""
    order = {file: rank for rank, file in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


settings.register_profile("zoo", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("zoo")
