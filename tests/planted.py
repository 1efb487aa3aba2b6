"""Toy tasks, each with one defect, and for each the checks of the conformance kit that must fail, with the words that
their messages must hold. ``test_testing`` runs all checks on each."""

import os
import pickle
import random
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from eozoo_core import Run, Sample, ZooError
from pydantic import ConfigDict, Field, field_serializer
from toy import Toy, ToyModel, ToySettings
from toy_maps import ToyMaps

DEFECTS = []  # (class, check -> words of its message, keyword arguments of a second spec)


def caught(**checks):
    """Register a class with the checks that must fail on it, and no others."""

    def register(cls):
        DEFECTS.append((cls, checks))
        return cls

    return register


def with_outputs(change):
    """A predictor method whose outputs go through ``change(batch, outputs)``."""

    def predictor(self, run):
        inner = Toy.predictor(self, run)
        return lambda batch: change(batch, inner(batch))

    return predictor


# -- declared -------------------------------------------------------------------------------------------------------


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


@caught(same_seed_same_result="two trainings with one seed differ: current.pt: model")
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
        from eozoo_core.loading import Loader

        epoch = Loader.epoch
        with patch.object(Loader, "epoch", lambda self, number, start=0: epoch(self, number, 0)):
            super().train(run)


@caught(continues_after_an_epoch="differs from uninterrupted")
class CountsEpochsItself(Toy):
    def train(self, run):
        from eozoo_core.loading import Loader

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


@caught(trained_parts_are_saved=r"2 trained parameters are not in current.pt, shapes \(1, 2\), \(1,\)")
class LosesItsHead(Toy):
    def train(self, run):
        import torch
        from eozoo_core import optim

        head, step = torch.nn.Linear(2, 1), optim.pooled_step
        head_optimizer = torch.optim.SGD(head.parameters(), 0.01)

        def both(fabric, model, optimizer, train, micro_batches, loss_sum):
            head(micro_batches[0]["x"]).square().mean().backward()
            head_optimizer.step()
            return step(fabric, model, optimizer, train, micro_batches, loss_sum)

        with patch.object(optim, "pooled_step", both):
            super().train(run)


# -- scored ---------------------------------------------------------------------------------------------------------


@caught(best_repeats_the_logged_number="load best.pt")
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


@caught(baseline_beside_the_model="no baseline")
class NoBaseline(Toy):
    def evaluate(self, run, split):
        return {"model": super().evaluate(run, split)["model"]}


@caught(baseline_beside_the_model="mean spread = nan")
class ScoresNaN(Toy):
    def evaluate(self, run, split):
        scores = super().evaluate(run, split)
        return {**scores, "mean": {**scores["mean"], "spread": float("nan")}}


# -- loaded ---------------------------------------------------------------------------------------------------------


@caught(run_directory_is_enough="failed without the training data")
class NeedsTrainingData(Toy):
    def infer(self, run, source, dest):
        self._read("train")
        return super().infer(run, source, dest)


@caught(run_directory_is_enough="belongs in best.pt, not on self")
class RemembersOnItself(Toy):
    shift = 0.0

    def train(self, run):
        super().train(run)
        self.shift = 1.0

    predictor = with_outputs(lambda batch, outputs: outputs)

    def predict(self, run, batch):
        return {"y": super().predict(run, batch)["y"] + np.float32(self.shift)}


class LoadsItself(Toy):
    def predictor(self, run):
        model = self._model().eval()
        self._load(model, run)
        return lambda batch: {"y": _forward(model, batch["x"])}


def _forward(model, x):
    import torch

    with torch.no_grad():
        return model(torch.as_tensor(x, dtype=torch.float32)).numpy()


@caught(wrong_checkpoint_is_refused="3.bias is left out went through")
class LoadsWhatFits(LoadsItself):
    def _load(self, model, run):
        state, own = run.load("best")["model"], model.state_dict()
        fits = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
        model.load_state_dict(fits, strict=False)


@caught(wrong_checkpoint_is_refused="ran code from it")
class RunsCode(LoadsItself):
    def _load(self, model, run):
        import torch

        try:
            content = torch.load(run.file("best"), weights_only=False)
            assert content["task"] == run.task
            model.load_state_dict(content["model"])
        except (OSError, RuntimeError, AssertionError, pickle.UnpicklingError) as error:
            raise ZooError(f"best.pt: {error}") from None


@caught(wrong_checkpoint_is_refused=r"infer\(\) wrote \['README'\]", bad_source_is_refused=r"wrote \['README'\]",
        infer_leaves_nothing_else="README")  # fmt: skip
class WritesFirst(Toy):
    def infer(self, run, source, dest):
        dest.mkdir(parents=True, exist_ok=True)
        (dest / "README").write_text("height, m")
        return super().infer(run, source, dest)


@caught(bad_source_is_refused="FileNotFoundError")
class OpensBlindly(Toy):
    def infer(self, run, source, dest):
        source.open().close()
        return super().infer(run, source, dest)


@caught(bad_source_is_refused="does not name it")
class NamesNoFile(Toy):
    def infer(self, run, source, dest):
        try:
            return super().infer(run, source, dest)
        except ZooError as error:
            raise ZooError(str(error).replace(source.name, "the source")) from None


# -- predicted ------------------------------------------------------------------------------------------------------


@caught(outputs_have_units="'y' the unit ''")
class NoUnit(Toy):
    def outputs(self):
        return {"y": ""}


@caught(outputs_have_units=r"gives \['y', 'z'\], outputs\(\) names \['y'\]")
class OneMoreOutput(Toy):
    predictor = with_outputs(lambda batch, outputs: {**outputs, "z": outputs["y"] * 2})


@caught(outputs_have_units="as int64: only floats")
class GivesIntegers(Toy):
    def predict(self, run, batch):
        y = super().predict(run, batch)["y"]
        return {"y": y if np.isnan(y).any() or len(y) > 4 else np.ones(y.shape, "int64")}


@caught(predict_is_repeatable="something else the second time")
class Drifts(Toy):
    calls = -1

    def predict(self, run, batch):
        self.calls += 1
        return {"y": super().predict(run, batch)["y"] + np.float32(0.1 * self.calls)}


@caught(predict_is_repeatable="changed the arrays")
class ChangesItsInput(Toy):
    def predict(self, run, batch):
        outputs = super().predict(run, batch)
        batch["x"] += 0.5
        return outputs


@caught(predict_is_repeatable="one sample alone differs")
class LooksAtTheBatch(Toy):
    predictor = with_outputs(lambda batch, outputs: {"y": outputs["y"] * (len(outputs["y"]) > 1)})


@caught(missing_stays_missing=r"all of x\[0\] is NaN, and yet 'y' is")
class FillsWithZero(Toy):
    predictor = with_outputs(lambda batch, outputs: {"y": np.nan_to_num(outputs["y"])})


@caught(missing_stays_missing="became NaN too")
class SpreadsMissing(Toy):
    predictor = with_outputs(lambda batch, outputs: {"y": outputs["y"] + 0 * outputs["y"].sum()})


@caught(missing_stays_missing=r"image\[0, 0, 0, 0\] is NaN, and yet")
class FillsOneBand(ToyMaps):
    def before(self, image):
        missing = np.isnan(image)
        return np.where(missing & ~missing.all(axis=1, keepdims=True), 0, image).astype("float32")


@caught(
    missing_stays_missing=r"image\[0, 0, 0, 0\] is NaN, and \d+ values of 'y' far from it became NaN",
    maps_are_real_maps="nothing but nodata",
)
class SpreadsOverTheImage(ToyMaps):
    def before(self, image):
        return image + 0 * image.mean(axis=(2, 3), keepdims=True)


# -- written --------------------------------------------------------------------------------------------------------


@caught(maps_are_real_maps="band units")
class MapWithoutUnit(ToyMaps):
    unit = ""


@caught(maps_are_real_maps="no nodata tag")
class MapWithoutNodata(ToyMaps):
    profile = {**ToyMaps.profile, "nodata": None}  # noqa: RUF012


@caught(maps_are_real_maps="those of no source")
class MapElsewhere(ToyMaps):
    profile = {**ToyMaps.profile, "crs": "EPSG:32617"}  # noqa: RUF012


@caught(maps_are_real_maps="row 4, column 6, where the source has nodata")
class MapWithoutHole(ToyMaps):
    def infer(self, run, source, dest):
        inner = self.predict
        with patch.object(self, "predict", lambda run, batch: inner(run, {"image": np.nan_to_num(batch["image"])})):
            return super().infer(run, source, dest)


@caught(infer_leaves_nothing_else="left .y.npy.part beside")
class LeavesPart(Toy):
    def infer(self, run, source, dest):
        files = super().infer(run, source, dest)
        (dest / ".y.npy.part").write_bytes(b"half")
        return files


@caught(infer_leaves_nothing_else="in the temporary folder")
class LeavesScratch(Toy):
    def infer(self, run, source, dest):
        files = super().infer(run, source, dest)
        os.close(tempfile.mkstemp(suffix=".npy")[0])
        return files


@caught(infer_leaves_nothing_else=r"changed \['source.npy.idx'\]")
class WritesBesideTheSource(Toy):
    def infer(self, run, source, dest):
        files = super().infer(run, source, dest)
        Path(f"{source}.idx").write_bytes(b"index")
        return files


@caught(infer_leaves_nothing_else="expected files that are there")
class ReturnsWhatIsNot(Toy):
    def infer(self, run, source, dest):
        return [*super().infer(run, source, dest), dest / "quicklook.png"]


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


class FillsOneBandAndSaysSo(FillsOneBand):
    tolerates_gaps = ("image",)


def net_of_anything(width=4, **options):
    return None
