"""Write the tables of the docs from the results: ``python -m benchmarks.pages`` (``make real`` ends with it).

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``. A test holds every page to its results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks import (
    real_barlow,
    real_barlow_head,
    real_barlow_transfer,
    real_prithvi,
    real_prithvi_context,
    reproduce,
)
from benchmarks.tools import markdown_table as table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TABLE = re.compile(r"(<!-- table: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Fill every page that has tables."""
    for page in PAGES:
        path = ROOT / page
        path.write_text(filled(page, path.read_text()))


def filled(page: str, text: str) -> str:
    """Return the text of a page with its tables as the results say. Raises KeyError for a table that no result has."""
    tables = PAGES[page]()
    return TABLE.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n\n{found[4]}", text)


def _result(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _interval(found: Mapping, digits: int = 2) -> list[str]:
    if "low" not in found:
        return [f"{found['mean']:+.{digits}f}", ""]
    return [f"{found['mean']:+.{digits}f}", f"{found['low']:+.{digits}f} to {found['high']:+.{digits}f}"]


def gedi() -> dict[str, str]:
    """Eight tiles in Nicaragua."""
    found, rows = _result("real_gedi"), []
    for name, row in found["rows"].items():
        mean = row["mean"]
        cells = [mean["rmse"], mean["mae"], mean["bias"], row["pooled"]["r2"], mean.get("gaussian_nll")]
        rows.append([name, str(row["seeds"]), *(_number(c) for c in (*cells, row["rmse_untouched_tiles"]))])
    head = ["row", "seeds", "RMSE", "MAE", "bias", "pooled R2", "NLL", "RMSE, tiles 0 2 5 7"]
    pairs = [[n, *_interval(d), f"{d['tiles_better']} of 8"] for n, d in found["rmse_differences"].items()]
    return {"rows": table(head, rows), "differences": table(_DIFFERENCES, pairs)}


_DIFFERENCES = ("difference", "RMSE (m)", "95 % interval", "tiles better")


def gedi_17() -> dict[str, str]:
    """17 tiles."""
    found, rows = _result("real_gedi_17"), []
    for name, row in found["rows"].items():
        pooled = row["pooled"]
        cells = [row["rmse"], pooled["mae"], pooled["bias"], pooled["r2"], pooled.get("gaussian_nll")]
        within = f"{row['within_one']:.2f}, {row['within_two']:.2f}" if "within_one" in row else ""
        rows.append([name, *map(_number, cells), within, *(_number(v) for v in row["rows"].values())])
    head = ["row", "RMSE", "MAE", "bias", "pooled R2", "NLL", "within 1, 2 deviations"]
    pairs = [[n, *_interval(d), f"{d['better']} of 17"] for n, d in found["rmse_differences"].items()]
    head += ["115", "116 north", "middle", "south"]
    return {"rows": table(head, rows), "differences": table(_DIFFERENCES, pairs)}


def granules() -> dict[str, str]:
    """GEDI granules, the Texas chip and the ensemble of the eight tiles."""
    found, ensemble = _result("real_gedi_biomass"), _result("real_gedi_ensemble")
    made = {}
    for name, rows in found["granules"].items():
        made[name] = table(["filter", "removed", "left"], [[r["filter"], r["removed"], r["left"]] for r in rows])
    texas, why = found["texas"], found["texas_why"]
    metrics = ("rmse", "mae", "bias", "r2", "gaussian_nll")
    rows = [[name, *(_number(row[m]) for m in metrics)] for name, row in texas["rows"].items()]
    made["texas"] = table(["predictor", "RMSE", "MAE", "bias", "R2", "NLL"], rows)
    keys = ("crps", "mean_squared_z", "coverage_90")
    rows = [[name, *(_number(row[k]) for k in keys)] for name, row in texas["calibration"].items()]
    made["calibration"] = table(["variances", "CRPS, Mg/ha", "mean squared error / std", "share inside 90 %"], rows)
    rows = [[name, _number(float(np.mean(v))), *map(_number, v)] for name, v in why["rmse"].items()]
    rows += [[f"swir2 with biomass, {s}", "", *map(_number, v)] for s, v in why["correlation_swir2"].items()]
    made["why"] = table(["predictor, RMSE in Mg/ha", "mean", "seed 0", "1", "2", "3", "4"], rows)
    keys = ("rmse", "crps", "mean_squared_z", "coverage_68%", "coverage_90%")
    rows = [[name, *(_number(ensemble[name][k]) for k in keys)] for name in ("ensemble", "member")]
    head = ["predictor", "RMSE, m", "CRPS, m", "mean squared error / std", "inside 68 %", "inside 90 %"]
    return made | {"ensemble": table(head, rows)}


def transfer() -> dict[str, str]:
    """From one Flemish cube to the other: how the head is trained, and what the encoders are worth there."""
    return real_barlow_head.tables(_result("real_barlow_head")) | real_barlow_transfer.tables(
        _result("real_barlow_transfer")
    )


def readme() -> dict[str, str]:
    """What the README says of real data: all of it comes from here."""
    tiles, texas = _result("real_gedi_17")["rows"], _result("real_gedi_biomass")["texas"]["rows"]
    cover, refined = _result("real_barlow_transfer")["second"]["scores"], _result("real_prithvi")["restore"]["mean"]
    context, published = _result("real_prithvi_context")["sets"]["ten places"]["mean"], _result("reproduced")

    def row(what: str, score: str, digits: int, model: tuple[str, float], *beside: tuple[str, float]) -> list[str]:
        names = [f"{name} {value:.{digits}f}" for name, value in beside]
        return [what, score, f"{model[0]} {model[1]:.{digits}f}", ", ".join(names)]

    def of(found: Mapping, key: str, *names: str) -> list[tuple[str, float]]:
        return [(name.partition(",")[0], found[name][key]) for name in names]

    rows = []
    for layers in ("S2", "all layers"):
        beside = of(tiles, "rmse", f"quantile forest, {layers}", f"ridge, {layers}", f"context_net mixture, {layers}")
        what = f"Canopy height from 667 GEDI shots, {layers}, rows of tiles held out"
        rows.append(row(what, "RMSE, m", 2, *beside, *of(tiles, "rmse", "training mean")))
    ensemble = ("ensemble of U-Nets", texas["model"]["rmse"])
    rows.append(
        row("Biomass, one chip in Texas", "RMSE, Mg/ha", 2, ensemble, *of(texas, "rmse", "ridge", "training mean"))
    )
    encoder = ("Barlow Twins of another place", cover["encoder"]["macro_f1"])
    others = of(cover, "macro_f1", "forest", "logistic", "random", "presto")
    rows.append(row("Land cover, 5 % of the labels, whole fields held out", "macro F1", 3, encoder, *others))
    small = ("small Prithvi, not pre-trained", refined["prithvi"]["l1"])
    others = of(refined, "l1", "convnext", "affine fit", "input")
    rows.append(row("Refined Sentinel-2, ten places held out", "L1", 4, small, *others))
    others = of(context, "l1", "convnext", "affine fit", "input")
    rows.append(row("The same, fewer draws", "L1", 4, ("frozen Galileo", context["galileo"]["l1"]), *others))
    for name, what, score in (
        ("fuel_moisture", "Live fuel moisture", "RMSE, %"),
        ("algae_blooms", "Severity of algae blooms", "RMSE"),
    ):
        by = {one["row"]: one for one in published[name]["rows"]}
        model = (f"Presto fine-tuned (published {by['fine-tuned']['published']})", by["fine-tuned"]["rmse"])
        others = of(by, "rmse", "forest", "ridge", "training mean")
        rows.append(row(what, score, published[name]["digits"], model, *others))
    return {"real data": table(["on real data", "score", "model", "beside it"], rows)}


PAGES: dict[str, Callable[[], dict[str, str]]] = {
    "README.md": readme,
    "docs/real_data_gedi.md": gedi,
    "docs/real_data_gedi_17.md": gedi_17,
    "docs/gedi_from_granules.md": granules,
    "docs/real_data_barlow.md": lambda: real_barlow.tables(_result("real_barlow")),
    "docs/cross_validation.md": transfer,
    "docs/real_data_prithvi.md": lambda: real_prithvi.tables(_result("real_prithvi")),
    "docs/real_data_prithvi_context.md": lambda: real_prithvi_context.tables(_result("real_prithvi_context")),
    "docs/reproduced.md": lambda: reproduce.tables(_result("reproduced")),
}

if __name__ == "__main__":
    main()
