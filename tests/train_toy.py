"""Train the toy task in processes of its own: ``train_toy.py JOBS.json OUT``; Fabric's launcher starts it once more.

JOBS.json: a list of {"run": folder, "set": [key=value ...], "kill": null or [step, signal, rank]}, trained one after
the other. Each process writes what it drew, scored and wrote to OUT/JOB_RANK.json.
"""

import json
import os
import signal
import sys
from pathlib import Path

import eozoo_core.run.checkpoint
import eozoo_core.run.log
import eozoo_core.train.loading
import eozoo_core.train.step
import torch
import toy
from eozoo_core import Run
from eozoo_core.errors import Interrupted
from eozoo_core.settings.config import load_settings


def main(jobs, out):
    for number, job in enumerate(json.loads(Path(jobs).read_text())):
        record = {"draws": [], "share": [], "validation": [], "writes": [], "stopped": False}
        Spy.record, Spy.kill, Spy.steps = record, job["kill"], 0
        settings = load_settings(toy.ToySettings, overrides=job["set"])
        run = Run.create(Path(job["run"]), "toy", settings)
        try:
            toy.Toy(settings).train(run)
        except Interrupted:
            record["stopped"] = True
        (Path(out) / f"{number}_{Spy.rank()}.json").write_text(json.dumps(record))
    torch.distributed.barrier()  # the first process ends the others when it ends


class Spy:
    """Notes what the loop does in this process, and sends it the signal that the job asks for."""

    record, kill, steps = None, None, 0

    @staticmethod
    def rank():
        return int(os.environ.get("LOCAL_RANK", "0"))

    @staticmethod
    def on(module, name):
        def around(note):
            original = getattr(module, name)

            def spy(*args):
                result = original(*args)
                note(args, result)
                return result

            setattr(module, name, spy)

        return around


@Spy.on(eozoo_core.train.loading.Loader, "draws")
def _draws(args, result):
    Spy.record["draws"].append([[list(draw) for draw in batch] for batch in result])


@Spy.on(eozoo_core.train.loading, "share_of")
def _share(args, result):
    Spy.record["share"] = list(result)


@Spy.on(toy, "_mean_squares")
def _validation(args, result):
    Spy.record["validation"].append([float(value) for value in args])


@Spy.on(eozoo_core.run.checkpoint, "write_atomic")
def _write(args, result):
    Spy.record["writes"].append(Path(args[0]).name)


@Spy.on(eozoo_core.run.log, "append")
def _append(args, result):
    Spy.record["writes"].append(Path(args[0]).name)


@Spy.on(eozoo_core.train.step, "pooled_step")
def _step(args, result):
    Spy.steps += 1
    if Spy.kill and [Spy.steps, Spy.rank()] == [Spy.kill[0], Spy.kill[2]]:
        os.kill(os.getpid(), getattr(signal, Spy.kill[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
