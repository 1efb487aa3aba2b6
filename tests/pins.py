"""Pins behaviour before a refactoring: records what every task computes, and compares two recordings.

    python tests/pins.py record OUT                  # the commit that is installed here, into the folder OUT
    python tests/pins.py compare OLD NEW             # everything is equal, or a line says what is not; exit code 1
    python tests/pins.py both OLD_COMMIT NEW_COMMIT  # both, on this machine: what a change of the code must pass

A recording holds checkpoints, logs, scores, maps, predictions, plans, findings and graphs of short trainings
(``pins/cases.yaml``). Tensors are compared bit by bit: compare recordings of one machine only. What may differ is in
``pins/renames.yaml``: other names, and wanted changes with their reason. ``--only CASE`` records less.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Before torch and numpy are imported: sums depend on how many threads share them.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # the package "pins" beside this file


def main(words: list[str] | None = None) -> int:
    """Run one of the commands; return the exit code."""
    given = _parser().parse_args(words)
    if given.command == "both":
        from pins.both import both

        return both((given.old, given.new), given.keep, given.only, given.most)
    from pins.table import Table

    table = Table.read(given.renames)
    if given.command == "compare":
        from pins.compare import compare

        return 1 if compare(given.old, given.new, table, given.most) else 0
    return _record(given, table)


def _record(given: argparse.Namespace, table: object) -> int:
    import eozoo
    import torch
    from pins.record import modules_are_of, read_cases, record

    torch.set_num_threads(1)
    eozoo.list_tasks()  # imports every plugin
    if given.tree is not None:
        modules_are_of(given.tree)
    failed = record(read_cases(table, given.side, given.only), given.out)
    if given.tree is not None:
        modules_are_of(given.tree)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pins.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="record this commit")
    record.add_argument("out", type=Path)
    record.add_argument("--side", choices=("old", "new"), default="new", help="whose names of settings to use")
    record.add_argument("--tree", type=Path, help="fail unless eozoo and all plugins are imported from there")
    compare = commands.add_parser("compare", help="compare two recordings")
    compare.add_argument("old", type=Path)
    compare.add_argument("new", type=Path)
    both = commands.add_parser("both", help="record two commits and compare them")
    both.add_argument("old", metavar="OLD_COMMIT")
    both.add_argument("new", metavar="NEW_COMMIT")
    both.add_argument("--keep", type=Path, help="keep the recordings in this folder")
    for command in (record, both):
        command.add_argument("--only", action="append", default=[], metavar="CASE", help="repeatable")
    for command in (record, compare):
        command.add_argument("--renames", type=Path, default=HERE / "pins" / "renames.yaml")
    for command in (compare, both):
        command.add_argument("--most", type=int, default=5, help="lines of each file; 0 = all")
    return parser


if __name__ == "__main__":
    sys.exit(main())
