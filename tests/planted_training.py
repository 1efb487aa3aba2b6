"""Toy tasks with one defect each in what they declare, how they train or how they score.

``caught_by`` names the checks of the conformance kit that must fail on a class, no others, with the words that their
messages must hold. ``test_testing`` runs all checks on each.
"""

import os
import random
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from eozoo_core import Plan, Run, Sample, ZooError
from pydantic import ConfigDict, Field, field_serializer
from toy import Toy, ToyModel, ToySettings


def caught(**checks):
    """Note on a class the checks that must fail on it."""

    def note(cls):
        cls.caught_by = checks
        return cls

    return note


# -- declared -------------------------------------------------------------------------------------------------------


@caught(a_run_has_one_writer="is not refused, but")
class LetsGo(Toy):
    def train(self, run):
        run.release()
        super().train(run)


@caught(settings_are_documented="without description: model.depth")
class Undocumented(Toy):
    class Settings(ToySettings):
        class Model(ToyModel):
            depth: int = 1

        model: Model = Field(Model(), description="The network.")


@caught(settings_round_trip="unknown key 'model.no_such_setting' was accepted")
class AcceptsAnything(Toy):
    class Settings(ToySettings):
        class Model(ToyModel):
            model_config = ConfigDict(extra="ignore")

        model: Model = Field(Model(), description="The network.")


@caught(settings_round_trip="read back from YAML differ")
class RoundsSettings(Toy):
    class Settings(ToySettings):
        class Model(ToyModel):
            slope: float = Field(0.125, description="Slope, 1.")

            @field_serializer("slope")
            def _short(self, value):
                return round(value, 1)

        model: Model = Field(Model(), description="The network.")


@caught(parameters_are_named=r"TakesAnything.predict takes \*\*options")
class TakesAnything(Toy):
    def predict(self, run, batch, **options):
        return super().predict(run, batch)


@caught(parameters_are_named="TakesTooMuch.crop takes 9 parameters")
class TakesTooMuch(Toy):
    def crop(self, a, b, c, d, e, f, g, h, i):
        return None


@caught(sample_is_repeatable="noise.npy differently")
class SampleByChance(Toy):
    @classmethod
    def sample(cls, root):
        made = super().sample(root)
        np.save(root / "noise.npy", np.random.normal(size=3))  # noqa: NPY002
        return made


@caught(sample_is_repeatable="Sample.batch differs")
class BatchByChance(Toy):
    @classmethod
    def sample(cls, root):
        made = super().sample(root)
        return Sample(made.settings, made.source, {"x": made.batch["x"] + np.float32(random.random())})


@caught(sample_is_repeatable="lies outside")
class SourceElsewhere(Toy):
    @classmethod
    def sample(cls, root):
        made = super().sample(root)
        other = Path(root).with_name("elsewhere.npy")
        other.write_bytes(made.source.read_bytes())
        return Sample(made.settings, other, made.batch)


# -- trained --------------------------------------------------------------------------------------------------------


@caught(
    same_seed_same_result="two trainings with one seed differ: current.pt: model",
    two_processes_are_one="with the same weights",
)
class SeededByTime(Toy):
    def _model(self):
        import torch

        torch.manual_seed(time.time_ns())
        return super()._model()


@caught(continues_after_an_epoch="differs from uninterrupted", continues_within_an_epoch="differs from uninterrupted")
class ForgetsTheOptimizer(Toy):
    def train(self, run):
        with patch("torch.optim.AdamW.load_state_dict", lambda self, state: None):
            super().train(run)


@caught(continues_within_an_epoch="differs from uninterrupted")
class BeginsTheEpochAgain(Toy):
    def train(self, run):
        from eozoo_core.train.loading import Loader

        epoch = Loader.epoch
        with patch.object(Loader, "epoch", lambda self, number, start=0: epoch(self, number, 0)):
            super().train(run)


@caught(continues_after_an_epoch="differs from uninterrupted")
class CountsEpochsItself(Toy):
    def train(self, run):
        from eozoo_core.train.loading import Loader

        epoch, begun = Loader.epoch, []

        def counted(self, number, start=0):
            begun.append(number)
            return epoch(self, number if start else len(begun) - 1, start)

        with patch.object(Loader, "epoch", counted):
            super().train(run)


@caught(
    continues_after_an_epoch=r"trained step \d again",
    continues_within_an_epoch=r"trained step \d again",
    finished_run_stays="wrote 4 checkpoints",
)
class AlwaysFromTheBeginning(Toy):
    def train(self, run):
        run.file("current").unlink(missing_ok=True)
        super().train(run)


@caught(finished_run_stays="wrote 1 checkpoints")
class SavesOnceMore(Toy):
    def train(self, run):
        super().train(run)
        run.save("current", run.load("current"))


@caught(
    trained_parts_are_saved=r"2 trained parameters are not in current.pt, shapes \(1, 2\), \(1,\)",
    two_processes_are_one="gradients of optimiser step 0 differ",
)
class LosesItsHead(Toy):
    def train(self, run):
        import torch
        from eozoo_core.train import step as steps

        head, step = torch.nn.Linear(2, 1), steps.pooled_step
        head_optimizer = torch.optim.SGD(head.parameters(), 0.01)

        def both(fabric, model, optimizer, train, micro_batches, loss_sum):
            head(micro_batches[0]["x"]).square().mean().backward()
            head_optimizer.step()
            return step(fabric, model, optimizer, train, micro_batches, loss_sum)

        with patch.object(steps, "pooled_step", both):
            super().train(run)


@caught(plan_tells_the_steps=r"plan\(\) tells 4 steps in all with train.epochs=2, train.steps=1; training takes 1:")
class PlansAllEpochs(Toy):
    def plan(self, run):
        train = self.settings.train
        per_epoch = len(self._read("train")) // train.batch_size
        return Plan({}, 1, 1, per_epoch, per_epoch * train.epochs, None)


# -- in two processes -------------------------------------------------------------------------------------------------


@caught(two_processes_are_one="batch 0 holds samples")
class DrawsForItself(Toy):
    def train(self, run):
        from eozoo_core.train import loading

        order = loading.epoch_order
        rank = int(os.environ.get("LOCAL_RANK", "0"))
        with patch.object(loading, "epoch_order", lambda samples, seed, epoch: order(samples, seed + rank, epoch)):
            super().train(run)


@caught(two_processes_are_one="validation 'loss' is .* with the same weights")
class ScoresEverySampleTwice(Toy):
    def train(self, run):
        from eozoo_core.train import loading

        with patch.object(loading, "share_of", lambda samples, fabric: range(samples - fabric.global_rank)):
            super().train(run)


@caught(two_processes_are_one="gradients of optimiser step 0 differ")
class DividesByItsOwnCount(Toy):
    def train(self, run):
        from eozoo_core.train import step

        with patch.object(step, "all_reduce_sums", lambda fabric, sums: sums):
            super().train(run)


@caught(two_processes_are_one="process 1 of 2 ended with code 1: ValueError: only one process")
class KnowsOneProcess(Toy):
    def train(self, run):
        if int(os.environ.get("LOCAL_RANK", "0")):
            raise ValueError("only one process")
        super().train(run)


@caught(two_processes_are_one="why they agree in single precision only")
class RoundsItsScores(Toy):
    """Adds what differs by less than single precision can say."""

    def train(self, run):
        import toy

        rank = int(os.environ.get("WORLD_SIZE", "1")) - 1
        means = toy._mean_squares
        with patch.object(toy, "_mean_squares", lambda *sums: {"loss": means(*sums)["loss"] * (1 + 1e-7 * rank)}):
            super().train(run)


class RoundsAndSaysWhy(RoundsItsScores):
    processes_differ = "it adds up in single precision"


# -- scored ---------------------------------------------------------------------------------------------------------


@caught(best_repeats_the_logged_number="load best.pt", best_is_enough="does not evaluate without")
class ScoresTheLast(Toy):
    def evaluate(self, run, split):
        with patch.object(Run, "file", lambda run, which: run.path / "current.pt"):
            return super().evaluate(run, split)


@caught(best_repeats_the_logged_number="pool over the same elements")
class DropsTheLastBatch(Toy):
    def evaluate(self, run, split):
        with patch.object(self, "_read", lambda split: Toy._read(self, split)[:-5]):
            return super().evaluate(run, split)


@caught(best_repeats_the_logged_number="Task.monitor names")
class MonitorsNothing(Toy):
    monitor = "rmse"


@caught(best_is_enough="does not evaluate without the other files of its run: .*shift.txt")
class KeepsAFileBeside(Toy):
    def train(self, run):
        super().train(run)
        (run.path / "shift.txt").write_text("0")

    def evaluate(self, run, split):
        (run.path / "shift.txt").read_text()
        return super().evaluate(run, split)


@caught(best_is_enough="best.pt alone gives loss .*, with the other files of its run")
class NotesAFactor(Toy):
    def train(self, run):
        super().train(run)
        run.note("factor", 1.5)

    def evaluate(self, run, split):
        scores, factor = super().evaluate(run, split), 1.0 if "factor" in run.info() else 2.0
        return {name: {k: v * factor for k, v in values.items()} for name, values in scores.items()}


@caught(baseline_beside_the_model="no baseline")
class NoBaseline(Toy):
    def evaluate(self, run, split):
        return {"model": super().evaluate(run, split)["model"]}


@caught(baseline_beside_the_model="leaves out 'ridge', which training fitted")
class ForgetsWhatWasFitted(Toy):
    def train(self, run):
        super().train(run)
        run.note("baselines", {"fitted": ["ridge"]})


@caught(baseline_beside_the_model="mean spread = nan")
class ScoresNaN(Toy):
    def evaluate(self, run, split):
        scores = super().evaluate(run, split)
        return {**scores, "mean": {**scores["mean"], "spread": float("nan")}}


# -- without a check of their own -----------------------------------------------------------------------------------


class FailsToTrain(Toy):
    times = 0

    def train(self, run):
        FailsToTrain.times += 1
        raise ZooError("no such thing")


class GivesBatch(Toy):
    expression = "{}"

    @classmethod
    def sample(cls, root):
        made = super().sample(root)
        return Sample(made.settings, made.source, eval(cls.expression, {"x": made.batch["x"]}))


def net_of_anything(width=4, **options):
    return None
