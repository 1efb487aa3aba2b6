"""The ``eozoo`` command. Importing this imports nothing, so that Ctrl-C is heard from the first moment: see `run`."""

import os
import sys

_BUG, _CTRL_C = 70, 130  # EX_SOFTWARE of sysexits.h; as a shell names an end by Ctrl-C


def run() -> None:
    """Do what the installed command does: ``main``. A bug shows its traceback and exits with 70, a mistake with 1.

    Ctrl-C exits with 130, and without a word where no verb has begun: nothing has been opened or written then.
    """
    try:
        _imported()()
    except KeyboardInterrupt:
        sys.exit(_CTRL_C)
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(_BUG)


def _imported() -> object:
    """Return ``main``. Ctrl-C ends at once: raised within an import, it may be told by others, in their words."""
    import signal

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else it is ignored, or another's
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(_CTRL_C))
    from eozoo.cli import main

    signal.signal(signal.SIGINT, before)
    return main


def __getattr__(name: str) -> object:
    if name not in ("main", "VERBS"):
        raise AttributeError(f"module 'eozoo.cli' has no attribute {name!r}")
    from eozoo.cli import verbs

    return getattr(verbs, name)
