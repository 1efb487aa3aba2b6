"""``python -m eozoo`` is the ``eozoo`` command.

Python looks for ``eozoo`` in the current folder first: a file ``eozoo.py`` there is run instead of it, and nothing here
can prevent that. The installed command ``eozoo`` and ``python -P -m eozoo`` do not look there. What eozoo imports is
never taken from there: ``__init__`` sees to that.
"""

from eozoo.cli import run

if __name__ == "__main__":
    run()
