"""What the cells of shot tables say: missing, numbers, yes and no, dates, beams and shot numbers."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from eozoo_gedi_sparse.prepare.granules import EPOCH_DAYS, FILL

WORDS = {**dict.fromkeys(("true", "t", "yes", "y"), 1.0), **dict.fromkeys(("false", "f", "no", "n"), 0.0)}
_BLANK = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", ".", "nodata", "missing"))
_BEAMS = (0, 1, 2, 3, 5, 6, 8, 11)  # BEAM0000 ... BEAM1011: the name is the number in binary
_POWER = (5, 6, 8, 11)
_EXACT = 2.0**53  # larger whole numbers lose their last digits as doubles


def is_blank(value: Any) -> bool:
    """Whether a cell says that there is nothing: None, empty, NA, NaN, null and the like."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _BLANK)


def number(value: Any, comma: bool) -> float:
    """A cell as a number, NaN = missing; with ``comma`` 1.234,5 is 1234.5. Raises ValueError or TypeError."""
    if is_blank(value):
        return np.nan
    if isinstance(value, str) and comma and "," in value:
        value = value.replace(".", "").replace(",", ".")
    return float(value)


def day(value: Any, kind: str) -> float:
    """Days since 1970-01-01 UTC, NaN = missing, of a date or a number; what that is, its column's name ``kind`` says.

    days: these; delta_time: seconds since 2018-01-01; any other: YYYYMMDD. Raises ValueError or TypeError.
    """
    if isinstance(value, date):
        value = value.isoformat()
    if is_blank(value):
        return np.nan
    try:
        found = float(str(value).replace(",", "."))
    except ValueError:
        moment = datetime.fromisoformat(str(value).strip().removesuffix("UTC").strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.timestamp() / 86400
    if not found > FILL:
        return np.nan
    if kind in ("days", "delta_time"):
        return found if kind == "days" else EPOCH_DAYS + found / 86400
    return datetime.strptime(f"{found:.0f}", "%Y%m%d").replace(tzinfo=UTC).timestamp() / 86400


def power(value: Any) -> float:
    """1 = a full-power beam, 0 = a coverage beam, NaN = none of GEDI's: BEAM0101, 0101 or 5."""
    text = str(value).strip().upper().removeprefix("BEAM")
    try:
        beam = int(text, 2) if re.fullmatch("[01]{4}", text) else int(float(text))
    except (ValueError, OverflowError):
        return np.nan
    return float(beam in _POWER) if beam in _BEAMS else np.nan


def whole(value: Any) -> int:
    """A shot's number, 0 = none. Raises ValueError for one that was rounded to a double, or is not a whole number."""
    if is_blank(value):
        return 0
    try:
        return max(0, int(value)) if not isinstance(value, float) else _exact(value)
    except ValueError:
        return _exact(float(value))


def _exact(value: float) -> int:
    if np.isnan(value):
        return 0
    if value != int(value) or abs(value) > _EXACT:
        raise ValueError("not exact")
    return max(0, int(value))
