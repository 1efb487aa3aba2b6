"""Names of bands: which of them mean the same, and the order of bands in files that give none.

A band has a code (B08, SR_B5), a word (nir, near infrared) or both. Codes of one sensor are the same however they are
written (B1 = B01 = b1). A code and a word, or codes of two lists, meet in the common names of STAC's eo extension; a
code that means two bands (B5 is red edge of Sentinel-2 and near infrared of Landsat 8) is decided by the other codes of
its list, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from eozoo_core.errors import ZooError, did_you_mean

_SENTINEL2 = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "rededge071", "6": "rededge075", "7": "rededge078",
    "8": "nir", "8A": "nir08", "9": "nir09", "10": "cirrus", "11": "swir16", "12": "swir22",
}  # fmt: skip
_LANDSAT8 = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir08 nir", "6": "swir16", "7": "swir22",
    "9": "cirrus", "10": "lwir11", "11": "lwir12",
}  # fmt: skip
_LANDSAT5 = {"1": "blue", "2": "green", "3": "red", "4": "nir08 nir", "5": "swir16", "6": "lwir", "7": "swir22"}
SENSORS = {"Sentinel-2": _SENTINEL2, "Landsat 8 or 9": _LANDSAT8, "Landsat 4, 5 or 7": _LANDSAT5}

_WORDS = {
    "coastal": "coastalaerosol aerosol aerosols ultrablue",
    "rededge071": "rededge1 rededge705 re1 vre1",
    "rededge075": "rededge2 rededge740 re2 vre2",
    "rededge078": "rededge3 rededge783 re3 vre3",
    "nir": "nearinfrared nirbroad broadnir nir1",
    "nir08": "nirnarrow narrownir narrownearinfrared nir2 nir8a rededge4 re4",
    "nir09": "watervapor watervapour wv",
    "swir16": "swir1 shortwaveinfrared1",
    "swir22": "swir2 shortwaveinfrared2",
    "lwir11": "tir1 thermal1",
    "lwir12": "tir2 thermal2",
}
_MEANING = {word: name for name, words in _WORDS.items() for word in [name, *words.split()]}
_MEANING |= {name: name for name in ["blue", "green", "red", "cirrus", "pan", "lwir", "vv", "vh", "hh", "hv"]}
_CODE = re.compile(r"(sr_|st_)?b0?(1[0-9]|[1-9]a?)(?:_(?:10|20|30|60)m)?", re.IGNORECASE)

_L1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
PRESETS = {
    "sentinel2_l1c": _L1C,
    "sentinel2_l2a": tuple(band for band in _L1C if band != "B10"),
    "ssl4eo_l1c": _L1C,
    "ssl4eo_l2a": tuple(band for band in _L1C if band != "B10"),
    # The files of EuroSAT hold B8A last; its paper lists it after B8.
    "eurosat": (*(band for band in _L1C if band != "B8A"), "B8A"),
    "landsat8_sr": ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"),
    "hls_six": ("blue", "green", "red", "nir08", "swir16", "swir22"),
    "rgbn": ("red", "green", "blue", "nir"),
}


def find_bands(have: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return for every name ``wanted`` the index (from 0) of the band of ``have`` ("" = no name) that it means.

    Raises ZooError for a name that no band or several bands answer to, and where codes are those of two sensors.
    """
    if all(list(have).count(name) == 1 for name in wanted):
        return [list(have).index(name) for name in wanted]
    find = _finder(have, wanted)
    return [find(name) for name in wanted]


def find_some(have: Sequence[str], wanted: Sequence[str], absent: int = -1) -> list[int]:
    """Do the same, but with ``absent`` for a name that no band or several bands answer to, or one of another sensor."""
    find, found = _finder(have, wanted), []
    for name in wanted:
        try:
            found.append(list(have).index(name) if list(have).count(name) == 1 else find(name))
        except ZooError:
            found.append(absent)
    return found


def _finder(have: Sequence[str], wanted: Sequence[str]) -> Callable[[str], int]:
    """Return what finds one of ``wanted``, all of which say together which sensor their codes are of."""
    ours, theirs = _sensors(wanted), _sensors(have)
    same_sensor = not ours or not theirs or bool(set(ours) & set(theirs))
    shared = [sensor for sensor in ours or theirs if sensor in (theirs or ours)]
    offered = [_meanings(name, shared if same_sensor else theirs) for name in have]
    return lambda n: _find(n, have, _meanings(n, shared if same_sensor else ours), offered, same_sensor)


def told(have: Sequence[str], wanted: Sequence[str], found: Sequence[int]) -> str:
    """Say which bands were found under another name: "B1 = B01, B8 = nir"; "" where none was.

    ``found``: indices (from 0) in ``have``. Bands without a name ("band 7") are left out.
    """
    pairs = [(w, have[i]) for w, i in zip(wanted, found, strict=True) if have[i] and not w.startswith("band ")]
    return ", ".join(f"{w} = {other}" for w, other in pairs if other != w)


def named(given: Sequence[str], count: int, where: str) -> tuple[str, ...]:
    """Return the names of ``count`` bands from a setting: names, or the one name of a preset (see `PRESETS`).

    Raises ZooError, beginning with ``where``, for another number of names.
    """
    names = preset(given)
    if len(names) != count:
        what = f"names {len(names)} bands" if names == tuple(given) else f"{given[0]} has {len(names)} bands"
        hint = "" if len(names) > 1 or count == 1 else f" Presets: {', '.join(PRESETS)}."
        raise ZooError(f"{where}: {what}, the file has {count}.{hint}")
    return names


def preset(given: Sequence[str]) -> tuple[str, ...]:
    """Return the names that the one name of a preset stands for; other names as they are."""
    return PRESETS.get(given[0], tuple(given)) if len(given) == 1 else tuple(given)


def _find(
    name: str, have: Sequence[str], meant: set[str], offered: Sequence[set[str]], same_sensor: bool
) -> int:  # fmt: skip
    alike = [i for i, found in enumerate(have) if found == name]
    if not alike and same_sensor and (code := _code(name)):
        alike = [i for i, found in enumerate(have) if _code(found) == code]
    if not alike:
        alike = [i for i, meanings in enumerate(offered) if meant & meanings]
        if alike and not same_sensor:
            raise ZooError(f"band {have[alike[0]]} is of another sensor than {name}; give one of the same")
    if len(alike) > 1:
        which = ", ".join(have[i] for i in alike) if len({have[i] for i in alike}) > 1 else repr(have[alike[0]])
        raise ZooError(f"several bands are called {which}; choose by number, 1 is the first")
    if not alike:
        known = [found for found in have if found]
        unclear = f" ({name} alone does not tell the sensor)" if _code(name) and not meant else ""
        raise ZooError(f"no band is called {name!r}{unclear}.{did_you_mean(name, known)}")
    return alike[0]


def _code(name: str) -> str:
    """Return the code in a name without leading zeros ("8A"), "" for a name without one."""
    found = _CODE.fullmatch(name.strip())
    return found[2].upper() if found else ""


def _sensors(names: Sequence[str]) -> list[str]:
    """Return the sensors whose bands all codes among ``names`` are; [] where there is no code, or no sensor has all."""
    codes = {_code(name) for name in names} - {""}
    fit = [sensor for sensor, bands in SENSORS.items() if codes and codes <= bands.keys()]
    products = {name.lower() for name in names if name.lower().startswith(("sr_b", "st_b"))}
    if products:  # of Landsat's Collection 2; Landsat 4 to 7 have no SR_B6, their band 6 is ST_B6
        fit = [sensor for sensor in fit if "Landsat" in sensor and not ("sr_b6" in products and "5" in sensor)]
    return fit


def _meanings(name: str, sensors: Sequence[str]) -> set[str]:
    """Return the common names of a band; none where the sensors that it may be of disagree."""
    if code := _code(name):
        found = {SENSORS[sensor][code] for sensor in sensors if code in SENSORS[sensor]}
        return set(found.pop().split()) if len(found) == 1 else set()
    word = re.sub(r"[\s_.\-()]", "", name.lower())
    return {_MEANING[word]} if word in _MEANING else set()
