"""SUMMARY. What the package offers is declared in ``plugin``; importing this imports nothing."""
