"""Published numbers, computed again here: ``make reproduce``. The protocol stands in docs/reproduced.md.

    python -m benchmarks.reproduce

Reads ../shared/weights (or EOZOO_WEIGHTS), ../shared/parity and ../shared/data/presto_eval (or EOZOO_DATA), works under
real/reproduce and writes benchmarks/results/reproduced.json. A stopped call goes on with the trainings that are left.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from eozoo_core.run.checkpoint import sha256

from benchmarks.reproduce_parity import parity
from benchmarks.reproduce_presto import presto_scores
from benchmarks.tools import markdown_table

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
DATA = Path(os.environ.get("EOZOO_DATA", SHARED / "data")) / "presto_eval"
WEIGHTS = Path(os.environ.get("EOZOO_WEIGHTS", SHARED / "weights"))
WORK, RESULT = ROOT / "real" / "reproduce", ROOT / "benchmarks" / "results" / "reproduced.json"


def main() -> None:
    """Compute all rows, write them, and print them as they stand on the page."""
    found = {"parity": parity(SHARED / "parity", WEIGHTS)}
    for name in ("fuel_moisture", "algae_blooms"):
        found[name] = presto_scores(DATA / name, WEIGHTS / "presto_default_model.pt", WORK / name)
    write(found)  # at the end: pages are written from it, perhaps meanwhile
    print("\n\n".join(tables(found).values()))


def write(found: dict) -> None:
    """Write it with the hashes of weights and data."""
    files = [WEIGHTS / "presto_default_model.pt", WEIGHTS / "galileo_nano_encoder.pt"]
    files += [DATA / name / "s1_s2_era5_srtm.npy" for name in found if name != "parity"]
    found["sha256"] = {f"{file.parent.name}/{file.name}": sha256(file) for file in files if file.exists()}
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


def tables(found: dict) -> dict[str, str]:
    """Return the tables of docs/reproduced.md."""
    rows = [[row["encoder"], row["compared"], f"{row['difference']:.1e}"] for row in found["parity"]]
    made = {"parity": markdown_table(["encoder", "compared", "largest relative difference"], rows)}
    for name in ("fuel_moisture", "algae_blooms"):
        digits, rows = found[name]["digits"], []
        for row in found[name]["rows"]:
            spread = f" ± {row['spread']:.{digits}f}" if row["seeds"] > 1 else ""
            value = f"{row['rmse']:.{digits}f}{spread}"
            rows.append([row["row"], str(row["published"] or ""), value, str(row["seeds"])])
        made[name] = markdown_table(["row", "published RMSE", "here", "seeds"], rows)
    return made


if __name__ == "__main__":
    main()
