"""What names, tags and metadata files say about the numbers of a Sentinel-2 product: baseline, offset, quantification.

Read are: the product's name in a path (``_N0509_``, ``_N02.08``), MTD_MSIL2A.xml or MTD_MSIL1C.xml beside or above a
file, JSON beside it (a STAC item, Earth Engine's properties, BigEarthNet's), and tags of the file under the same names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from eozoo_core.errors import ZooError

OFFSET = -1000.0  # BOA_ADD_OFFSET and RADIO_ADD_OFFSET of baselines from 04.00 on (25 January 2022)
_FIRST, _UNTOLD = 400, 9000  # baseline 90.00 and above: made by hand or for tests, with or without the offset
_NAME = re.compile(r"_N(\d{2})\.?(\d{2})(?=_|\.|$)(?!_[EW]\d)")  # not the tile N0450_E0100 of a map of the world
_PRODUCT = re.compile(r"S2[A-D]_(?:MSI|OPER_)\w*_N(\d{2})\.?(\d{2})(?=_|\.|$)")
_HLS = re.compile(r"(?:^|[/\\])HLS\.[SL]30\.")
_XML = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
_ABOVE = 5  # folders between a band's file and the product's, at most
LARGEST = 16 * 2**20  # bytes; the files of today have 60 thousand


@dataclass(frozen=True)
class Evidence:
    """What one source says. offset: added to digital numbers, None = it does not say; source: for people, in words."""

    source: str
    offset: float | None
    quantification: float | None = None


def evidence_of(path: Path, tags: Mapping[str, Any]) -> list[Evidence]:
    """Return what the path, the metadata files and ``tags`` say; [] = nothing. Raises ZooError for bad XML."""
    path = Path(path).absolute()
    return [*_of_names(path), *_of_xml(path), *_of_json(path), *_of_keys(tags, "its tags")]


def told_by_product(name: str, metadata: str, content: bytes) -> list[Evidence]:
    """Return what the name of a product and the content of its metadata file say (b"" = there is none).

    Raises ZooError for bad XML.
    """
    found = [_of_product(metadata, _texts(metadata, content))] if content else []
    return [*(_of_baseline(int(a + b), "its name") for a, b in _NAME.findall(name)), *found]


def told_by_item(properties: Mapping[str, Any], packing: Iterable[tuple[float, float]]) -> list[Evidence]:
    """Return what a catalogue says of a scene: its properties, and the scales and offsets of its bands."""
    numbers = {(round(offset / scale, 3), round(1 / scale, 3)) for scale, offset in packing if scale}
    found = [Evidence("the offset of its bands", *pair) for pair in sorted(numbers)]
    return [*_of_keys(properties, "its item"), *found]


def baseline_offset(baseline: int) -> float | None:
    """Return the offset of a baseline as whole number (05.09 = 509), None where it does not tell (99.99)."""
    return None if baseline >= _UNTOLD else OFFSET if baseline >= _FIRST else 0.0


def _of_names(path: Path) -> list[Evidence]:
    texts = dict.fromkeys((*reversed(path.parts), *reversed(path.resolve().parts)))
    found = {int(a + b) for text in texts for a, b in _NAME.findall(text)}
    hls = [Evidence("its name (HLS has no offset)", 0.0)] if _HLS.search(str(path)) else []
    return hls + [_of_baseline(baseline, "its name") for baseline in sorted(found)]


def _of_baseline(baseline: int, where: str) -> Evidence:
    return Evidence(f"baseline {baseline / 100:05.2f} in {where}", baseline_offset(baseline))


def _of_xml(path: Path) -> list[Evidence]:
    for folder in list(path.parents)[:_ABOVE]:
        for name in _XML:
            if (folder / name).is_file():
                file = folder / name
                if file.stat().st_size > LARGEST:
                    size = f"{file.stat().st_size / 2**20:.0f} MiB"
                    raise ZooError(f"{file}: has {size}, not a product's metadata; remove it")
                return [_of_product(str(file), _texts(str(file), file.read_bytes()))]
    return []


def _of_product(file: str, texts: Mapping[str, list[str]]) -> Evidence:
    """An offset that is listed goes before the one that the baseline implies."""
    numbers = [_number(t) for key in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET") for t in texts.get(key, ())]
    if len(set(numbers)) > 1 or None in numbers:
        raise ZooError(f"{file}: its offsets are not one number for all bands ({numbers}); set the offset by hand")
    levels = ("BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    level = next((value for key in levels for t in texts.get(key, ()) if (value := _number(t))), None)
    called = Path(file).name
    if numbers:
        return Evidence(f"the offset in {called}", numbers[0], level)
    told = next((_whole(t) for t in texts.get("PROCESSING_BASELINE", ())), None)
    if told is None:
        return Evidence(f"{called}, which names no baseline", None, level)
    return Evidence(f"baseline {told / 100:05.2f} in {called}", baseline_offset(told), level)


def _texts(file: str, content: bytes) -> dict[str, list[str]]:
    """Texts of an XML file by the names of their elements. Entities and document types are refused, not read."""
    texts: dict[str, list[str]] = {}
    open_now: list[str] = []
    parser = expat.ParserCreate()

    def start(name: str, _: dict[str, str]) -> None:
        open_now.append(name.rpartition(":")[2])
        texts.setdefault(open_now[-1], []).append("")

    def text(part: str) -> None:
        if open_now:
            texts[open_now[-1]][-1] += part

    def refuse(*_: Any) -> None:
        raise ZooError(f"{file}: declares a document type or entities, as no product does; remove the file")

    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda _: open_now.pop()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise ZooError(f"{file}: cannot be read as XML ({error}); fetch it again, or remove it") from None
    return texts


def _of_json(path: Path) -> list[Evidence]:
    """JSON of the file (NAME.json), of its folder (metadata.json) or of its patch (PATCH_labels_metadata.json)."""
    folder = path.parent
    names = (
        f"{path.stem}.json",
        "metadata.json",
        f"{folder.name}_metadata.json",
        f"{folder.name}_labels_metadata.json",
    )
    found: list[Evidence] = []
    for file in (folder / name for name in dict.fromkeys(names)):
        if not file.is_file() or file.stat().st_size > LARGEST:
            continue
        try:
            content = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):  # not ours to judge: anybody's file may lie there
            continue
        if isinstance(content, dict):
            inner = content.get("properties")
            called = f"*{file.name.removeprefix(folder.name)}" if file.name.startswith(folder.name) else file.name
            found += _of_keys({**content, **(inner if isinstance(inner, dict) else {})}, called)
    return found


def _of_keys(content: Mapping[str, Any], where: str) -> list[Evidence]:
    """What keys of tags or JSON say, whatever their case and prefix (s2:processing_baseline).

    A named offset, or that it was applied, goes before the baseline; a product's name counts as a baseline.
    """
    short = {re.sub(r"[^a-z0-9]", "", str(k).rpartition(":")[2].lower()): v for k, v in content.items()}
    applied = str(short.get("boaoffsetapplied", "")).lower()
    if applied in ("true", "1", "yes"):
        return [Evidence(f"'offset applied' in {where}", 0.0)]
    level = next((_number(short[k]) for k in ("boaquantificationvalue", "quantificationvalue") if k in short), None)
    numbers = {_number(v) for k, v in short.items() if re.match(r"(boa|radio)addoffset", k)} - {None}
    if numbers:
        return [Evidence(f"the offset in {where}", number, level) for number in sorted(numbers, key=float)]
    keys = ("processingbaseline", "s2processingbaseline")
    baselines = {_whole(short[k]) for k in keys if k in short} - {None}
    if not baselines:
        baselines = {int(a + b) for text in _strings(content.values()) for a, b in _PRODUCT.findall(text)}
    found = [_of_baseline(baseline, where) for baseline in sorted(baselines, key=int)]
    return [Evidence(one.source, one.offset, level) for one in found]


def _strings(values: Iterable[Any]) -> Iterable[str]:
    return (value for value in values if isinstance(value, str) and len(value) < 500)


def _number(text: Any) -> float | None:
    try:
        value = float(str(text).split()[0])
    except (ValueError, IndexError):
        return None
    return value if math.isfinite(value) else None


def _whole(text: Any) -> int | None:
    """A baseline as whole number: 05.09, N0509, 5.09 and 0509 are 509, 5.1 is 510; None for what is none."""
    found = re.fullmatch(r"\s*[Nn]?(?:(\d{1,2})\.(\d{1,2})|(\d{1,2})(\d{2}))\s*", str(text))
    return int((found[1] or found[3]) + (found[2] or found[4]).ljust(2, "0")) if found else None
