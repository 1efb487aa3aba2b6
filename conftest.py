"""What all tests share, and what saves their time."""

import gc
import os
import signal

# Two threads on a busy machine can be 20 times slower than one. Before torch is imported; subprocesses inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
signal.signal(signal.SIGINT, signal.default_int_handler)  # a script that starts the tests in the background ignores it

import pytest
from hypothesis import settings

# The longest files begin first, so that of two processes none has one left at the end.
LONGEST = (
    "tests/test_docs.py",
    "plugins/prithvi_refine/tests/test_conformance.py",
    "plugins/barlow_twins/tests/test_conformance.py",
    "tests/test_testing.py",
    "tests/test_current_folder.py",
    "plugins/clay_ta/tests/test_conformance.py",
    "plugins/gedi_sparse/tests/test_conformance.py",
    "plugins/gedi_sparse/tests/test_ensemble.py",
    "plugins/gedi_sparse/tests/test_verbs.py",
    "plugins/prithvi_refine/tests/test_task.py",
)


def pytest_sessionstart(session):
    """Import Fabric as training does: a test that came first would bring torchvision and transformers.

    At every start Fabric looks in all installed packages for callbacks of others, which no test has. Numbers are those
    of a processor without units for bfloat16, whichever is there.
    """
    if session.config.getoption("dist") == "no":  # not the process that only hands out the tests
        from eozoo.testing.watch import without_bfloat16
        from eozoo_core.train.launch import without_torchmetrics

        with without_torchmetrics():
            import lightning_fabric.fabric
        if hasattr(lightning_fabric.fabric, "_load_external_callbacks"):
            lightning_fabric.fabric._load_external_callbacks = lambda group: []
        without_bfloat16()


def pytest_collection_modifyitems(items):
    """Put the longest files first; within a file the order stays."""
    order = {file: rank for rank, file in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


def pytest_collection_finish():
    """Leave what was imported out of the garbage collector's rounds: a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def each_kind_of_picture_once():
    """Draw the first picture that a function asks for in a test file; the others are blank."""
    from eozoo.testing.watch import each_picture_once

    with each_picture_once(set()):
        yield


@pytest.fixture(scope="module", autouse=True)
def forests_of_few_trees():
    """Grow eight trees where a run grows a hundred, in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eozoo_core.score.forest.TREES", 8)
        yield


settings.register_profile("zoo", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("zoo")
