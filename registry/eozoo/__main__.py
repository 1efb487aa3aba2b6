"""``python -m eozoo`` is the ``eozoo`` command."""

from eozoo.cli import main

if __name__ == "__main__":
    main()
