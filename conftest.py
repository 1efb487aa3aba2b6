"""One thread for every test: two on a busy machine can be 20 times slower than one."""

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; subprocesses inherit it
signal.signal(signal.SIGINT, signal.default_int_handler)  # a script that starts the tests in the background ignores it

from hypothesis import settings

settings.register_profile("zoo", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("zoo")
