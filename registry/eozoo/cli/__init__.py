"""The ``eozoo`` command. Importing this imports nothing, so that Ctrl-C is heard from the first moment: see `run`."""

import os
import sys

_BUG, _CTRL_C = 70, 130  # EX_SOFTWARE of sysexits.h; as a shell names an end by Ctrl-C


def run() -> None:
    """Do what the installed command does: ``main``. A bug shows its traceback and exits with 70, a mistake with 1.

    Ctrl-C exits with 130. It ends at once and without a word where no verb has begun, and where one has ended: nothing
    has been opened then, or all has been written, and what Python does then may tell it in words of its own.
    """
    import signal

    before = signal.getsignal(signal.SIGINT)
    heard = before is signal.default_int_handler  # else it is ignored, or another's
    try:
        if heard:
            signal.signal(signal.SIGINT, lambda number, frame: os._exit(_CTRL_C))
        from eozoo.cli import main

        signal.signal(signal.SIGINT, before)
        main()
    except KeyboardInterrupt:
        sys.exit(_CTRL_C)
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(_BUG)
    finally:
        if heard:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def __getattr__(name: str) -> object:
    if name not in ("main", "VERBS"):
        raise AttributeError(f"module 'eozoo.cli' has no attribute {name!r}")
    from eozoo.cli import verbs

    return getattr(verbs, name)
