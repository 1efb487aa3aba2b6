"""Units in which published encoders were trained, and what others are in them."""

from __future__ import annotations

from eozoo_core import ZooError

S2, DB = "reflectance x 10000", "dB"
CONVERSIONS = {  # given, wanted -> factor and summand
    ("reflectance 0..1", S2): (1e4, 0.0),
    ("reflectance", S2): (1e4, 0.0),
    ("(dB + 30) / 30", DB): (30.0, -30.0),
    ("degC", "K"): (1.0, 273.15),
    ("mm", "m"): (1e-3, 0.0),
}


def converted(who: str, band: str, given: str, wanted: str, remedy: str) -> tuple[float, float]:
    """Return factor and summand that turn ``given`` units of ``band`` into those ``wanted``.

    Raises ZooError, which begins with ``who`` and ends with ``remedy``, for units that are not known.
    """
    if given == wanted:
        return 1.0, 0.0
    if (given, wanted) not in CONVERSIONS:
        said = f"is in {given!r}" if given else "has no unit"
        raise ZooError(f"{who}: {band} {said}, {wanted!r} is needed; {remedy}")
    return CONVERSIONS[given, wanted]
