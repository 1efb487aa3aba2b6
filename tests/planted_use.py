"""Toy tasks with one defect each in what a trained run needs, refuses, predicts or writes; see ``planted_training``."""

import dataclasses
import os
import pickle
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from eozoo_core import Port, Task, ZooError
from planted_training import caught
from toy import Toy
from toy_maps import ToyMaps


def with_outputs(change):
    """A predictor method whose outputs go through ``change(batch, outputs)``."""

    def predictor(self, run):
        inner = Toy.predictor(self, run)
        return lambda batch: change(batch, inner(batch))

    return predictor


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


@caught(run_directory_is_enough="write into the run, which may be read-only")
class CountsItsUse(Toy):
    def predictor(self, run):
        (run.path / "used.txt").write_text("once more")
        return super().predictor(run)


@caught(a_scene_has_one_writer="one of two processes that infer into one folder failed: FileExistsError")
class KnowsNoOthers(Toy):
    def infer(self, run, source, dest):
        if source.suffix != ".npy" or not source.exists():
            return super().infer(run, source, dest)
        dest.mkdir(parents=True, exist_ok=True)
        with (dest / "work").open("x"):
            time.sleep(0.3)
        (dest / "work").unlink()
        return super().infer(run, source, dest)


class LoadsItself(Toy):
    def predictor(self, run):
        model = self._model().eval()
        self._load(model, run)
        return lambda batch: {"y": _forward(model, batch)}


def _forward(model, batch):
    import torch
    from eozoo_core.task.predict import check_arrays

    x = check_arrays(batch, Toy.takes)["x"]

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
        infer_leaves_nothing_else="README", infer_on_a_full_disk="left README")  # fmt: skip
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


@caught(outputs_have_units="as int64: only floats", one_bad_sample_spoils_no_other="values differ")
class GivesIntegers(Toy):
    def predict(self, run, batch):
        y = super().predict(run, batch)["y"]
        return {"y": y if np.isnan(y).any() or len(y) > 4 else np.ones(y.shape, "int64")}


@caught(predict_is_repeatable="something else the second time", one_bad_sample_spoils_no_other="than before")
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


@caught(missing_stays_missing="became NaN too", one_bad_sample_spoils_no_other=r"x\[0\] is missing, and predict")
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


@caught(one_bad_sample_spoils_no_other="y: 3 of 3 values differ")
class ScalesByTheBatch(Toy):
    predictor = with_outputs(lambda batch, outputs: {"y": outputs["y"] * (1 + np.isnan(batch["x"]).any())})


def before_the_check(change):
    """A predict method that changes what it is given before it looks at it."""
    return lambda self, run, batch: Toy.predict(self, run, change(batch))


@caught(misfits_are_refused=r"with no 'x' ended in KeyError")
class LooksIntoTheDict(Toy):
    predict = before_the_check(lambda batch: {"x": batch["x"]})


@caught(misfits_are_refused="with 'x' as text went through")
class TakesText(Toy):
    predict = before_the_check(lambda batch: {name: np.asarray(x, "float32") for name, x in batch.items()})


@caught(misfits_are_refused="with an axis more in 'x' went through")
class TakesAnyAxes(Toy):
    def predict(self, run, batch):
        x = batch.get("x")
        if x is not None and x.ndim == 3:
            batch = {"x": x[..., 0]}
        return super().predict(run, batch)


@caught(misfits_are_refused="with a band less in 'x' went through")
class FillsBands(Toy):
    def predict(self, run, batch):
        x = batch.get("x")
        if x is not None and x.shape[1:] == (1,):
            batch = {"x": np.concatenate([x, x], axis=1)}
        return super().predict(run, batch)


@caught(misfits_are_refused="has several lines")
class TalksTooMuch(Toy):
    def predict(self, run, batch):
        try:
            return super().predict(run, batch)
        except ZooError as error:
            raise ZooError(f"{error}\nsorry") from None


@caught(misfits_are_refused="does not name 'x'")
class NamesNoArray(Toy):
    def predict(self, run, batch):
        try:
            return super().predict(run, batch)
        except ZooError as error:
            raise ZooError(str(error).replace("x", "?")) from None


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


@caught(infer_on_a_full_disk="synced no file to disk", bad_source_is_refused="FileNotFoundError")
class WritesPastTheWriter(Toy):
    def infer(self, run, source, dest):
        dest.mkdir(parents=True, exist_ok=True)
        np.save(dest / "y.npy", self.predict(run, {"x": np.load(source)})["y"])
        return [dest / "y.npy"]


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


# -- checked --------------------------------------------------------------------------------------------------------


@caught(data_run_no_code="ran code from a file of data")
class Unpickles(Toy):
    def check(self, findings):
        for file in Path(self.settings.runtime.data_dir).rglob("*.npy"):
            np.load(file, allow_pickle=True)
        super().check(findings)


@caught(check_finds_what_is_wrong="finds errors in the sample, which trains: train: too few")
class ChecksTooStrictly(Toy):
    def check(self, findings):
        findings.error("train", "too few", "give more")


@caught(check_finds_what_is_wrong="finds nothing at all in the sample")
class ChecksNothing(Toy):
    def check(self, findings):
        pass


@caught(check_finds_what_is_wrong="no error although the data are gone")
class ChecksWithoutLooking(Toy):
    def check(self, findings):
        findings.ok("data", "all good")


@caught(
    check_finds_what_is_wrong=r"FileNotFoundError .*expected findings",
    data_run_no_code=r"ended in ValueError .*expected findings",  # numpy's own word on a pickle
)
class ChecksBlindly(Toy):
    def check(self, findings):
        findings.ok("data", str(np.load(Path(self.settings.runtime.data_dir) / "train.npy", allow_pickle=False).shape))


@caught(check_finds_what_is_wrong="builds a Linear")
class ChecksWithANetwork(Toy):
    def check(self, findings):
        super().check(findings)
        self._model()


@caught(check_finds_what_is_wrong="changed looked.txt: it must write nothing")
class ChecksAndWrites(Toy):
    def check(self, findings):
        super().check(findings)
        folder = Path(self.settings.runtime.data_dir)
        if folder.exists():
            (folder / "looked.txt").write_text("yes")


# -- exported -------------------------------------------------------------------------------------------------------


@caught(graph_is_predict="is missing in other places than predict's")
class GraphFillsWhatIsMissing(Toy):
    def graph(self, run):
        import torch
        from eozoo_core import Graph
        from eozoo_core.run.checkpoint import load_module

        class Filled(torch.nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def forward(self, x):
                return (self.model(torch.nan_to_num(x)),)

        model = self._model().eval()
        load_module(model, run.load("best")["model"], run.file("best"))
        x = np.array([[0.5, -1.0], [2.0, 0.25]], "float32")
        return Graph(Filled(model), {"x": x}, ("y",), axes={"x": ("batch", "")})


@caught(graph_is_predict=r"graph\(\) cannot be called as it says: the exported network cannot run")
class GraphTakesAnotherShape(Toy):
    def graph(self, run):
        import torch
        from eozoo_core import Graph

        class Wrong(torch.nn.Module):
            def forward(self, x):
                return (x @ torch.zeros(3, 1),)

        return Graph(Wrong(), {"x": np.array([[0.5, -1.0], [2.0, 0.25]], "float32")}, ("y",))


# -- no defect -------------------------------------------------------------------------------------------------------


class FillsOneBandAndSaysSo(FillsOneBand):
    tolerates_gaps = ("image",)


# -- described ------------------------------------------------------------------------------------------------------


@caught(network_is_described="does not describe its network")
class SaysNothing(Toy):
    network = Task.network


@caught(network_is_described=r"network\(\) takes 'image', Sample.batch has x")
class TakesAnother(Toy):
    takes = (Port("image", "B C H W"),)


@caught(network_is_described="they must be the same")
class ForgetsAnOutput(Toy):
    def network(self, run=None):
        return dataclasses.replace(super().network(run), outputs=())
