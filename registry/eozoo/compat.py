"""Which core a plugin was built for: its requirement on the distribution ``eozoo``, compared with the installed one.

Written out for plain ranges because importing ``packaging`` alone costs more than ``eozoo list`` may take.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from eozoo.installed import version_of

_CLAUSE = re.compile(r"(>=|<)\s*(\d+(?:\.\d+)*)")
_EOZOO = re.compile(r"eozoo(?![\w.-])\s*(?:\[[^]]*\])?\s*\(?([^();]*)\)?\s*(?:;(.*))?", re.IGNORECASE)


def core_range() -> tuple[str, str]:
    """Return the versions of core for which a plugin written today is built: from this one to below the next break.

    Below 1.0 a minor version may break, from then on a major one.
    """
    major, minor = _release(version_of("eozoo"))[:2]
    return (f"{major}.{minor}", f"0.{minor + 1}") if major == 0 else (f"{major}.{minor}", f"{major + 1}")


def built_for_another(requirements: Iterable[str], installed: str) -> str | None:
    """Return the requirement on ``eozoo`` that version ``installed`` does not meet, None where all is well."""
    for requirement in requirements:
        found = _EOZOO.fullmatch(requirement.strip())
        if found is None or "extra" in (found[2] or ""):
            continue
        clauses = [clause.strip() for clause in found[1].split(",") if clause.strip()]
        if not all(_meets(clause, installed) for clause in clauses):
            return f"eozoo{','.join(sorted(clauses, reverse=True))}"
    return None


def is_open(requirements: Iterable[str]) -> bool:
    """Whether nothing keeps a plugin from an eozoo that may break it: no upper bound, or no requirement at all."""
    asked = [found[1] for line in requirements if (found := _EOZOO.fullmatch(line.strip()))]
    return not any(mark in clauses for clauses in asked for mark in ("<", "==", "~="))


def _meets(clause: str, installed: str) -> bool:
    plain = _CLAUSE.fullmatch(clause)
    if plain is None or not re.fullmatch(r"\d+(\.\d+)*", installed):
        from packaging.specifiers import SpecifierSet  # all other clauses, pre-releases: rare

        return SpecifierSet(clause).contains(installed, prereleases=True)
    return (_release(installed) >= _release(plain[2])) == (plain[1] == ">=")


def _release(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.match(r"\d+(?:\.\d+)*", text)[0].split(".")]
    return (*numbers, *([0] * (4 - len(numbers))))
