"""Mix and match: what fits into a slot, what does not, and that it is said before training starts."""

import json

import pytest
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cli import main
from eozoo_core import Network, Port, Slot, Spec, TaskSettings, hookimpl
from eozoo_core.settings import Named, Settings
from eozoo_core.slots import misfit
from pydantic import Field
from toy import CARD, Toy

IMAGE, MEAN, TARGET = Port("image", "B C H W"), Port("mean", "B 1 H W", "m"), Port("target", "B 1 H W")
SLOT = Slot("model", feeds=(IMAGE,), wants=(MEAN,))


def model(takes=(IMAGE,), gives=(MEAN,)):
    return Spec("net", "a:b", "A net.", takes=takes, gives=gives)


@pytest.mark.parametrize(
    ("takes", "gives", "why"),
    [
        ("B C H W", "B 1 H W", None),
        ("N K Y X", "N 1 Y X", None),  # other letters, the same sizes
        ("B 14 H W", "B 1 H W", None),  # how many bands there are is not known yet
        ("B C H W", "B K H W", None),
        ("B C H W", "B 1 h w", "axis h is not the H of the input"),
        ("B C H W", "B 1 W H", "axis W is W, not H"),
        ("B C H H", "B 1 H H", "axis H is H, not W"),
        ("B C H W", "B 2 H W", "axis 2 is 2, not 1"),
        ("B C H W", "B H W", "3 axes against 4"),
        ("B T C H W", "B 1 H W", "5 axes against 4"),
    ],
)
def test_axes(takes, gives, why):
    found = misfit(SLOT, model((Port("image", takes),), (Port("mean", gives),)))
    assert (found is None) if why is None else (why in found)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (model((IMAGE, Port("month", "B", "1..12"))), "month (B) [1..12]"),
        (model(gives=(Port("tokens", "B N D"),)), "tokens (B, N, D), the task needs mean (B, 1, H, W) [m]"),
        (model(gives=(Port("mean", "B 1 H W", "Mg/ha"),)), "unit 'Mg/ha' against 'm'"),
        (model(gives=(Port("mean", "B 1 H W"),)), None),  # any unit passes through
        (model(gives=(Port("extra", "B 7"), MEAN)), None),
        (model(takes=()), "it does not declare what it takes"),
        (model(gives=()), "it gives nothing, the task needs mean"),
    ],
)
def test_roles_and_units(spec, why):
    found = misfit(SLOT, spec)
    assert (found is None) if why is None else (why in found)


def test_two_views_of_one_role_need_two():
    view = Port("view", "B D")
    loss = Spec("loss", "a:b", "A loss.", takes=(view, view))
    assert misfit(Slot("loss", feeds=(view, view)), loss) is None
    assert "it takes view" in misfit(Slot("loss", feeds=(view,)), loss)


class PartSettings(Named):
    name: str = Field("good_net", description="Network.")
    loss: Named = Field(Named(name="good_loss"), description="Loss.")


class SlotSettings(TaskSettings):
    model: PartSettings = Field(PartSettings(), description="Parts.")
    data: Settings = Field(Settings(), description="Data.")


class Slotted(Toy):
    """A task with slots, whose training would be noticed."""

    Settings = SlotSettings
    slots = {"model": SLOT, "model.loss": Slot("loss", feeds=(TARGET,), after="model")}  # noqa: RUF012
    tolerates_gaps = ("x",)

    def network(self, run=None):
        return Network("Line", 17, self.takes, (Port("y", "B 1", "m"),))

    def train(self, run):
        raise AssertionError("training began")


def net(width: int = 4):
    """A line."""
    import torch

    return torch.nn.Linear(2, width)


class Plugin:
    @hookimpl
    def eozoo_tasks(self):
        return [Spec("slotted", "test_slots:Slotted", "Learns a line", citation="Nobody 2026", card=CARD)]

    @hookimpl
    def eozoo_models(self):
        tokens = Port("tokens", "B N D")
        return [
            Spec("good_net", "test_slots:net", "Fits.", takes=(IMAGE,), gives=(MEAN, Port("log_scale", "B 1 H W"))),
            Spec("bare_net", "test_slots:net", "Fits, without log-scale.", takes=(IMAGE,), gives=(MEAN,)),
            Spec("encoder", "test_slots:net", "Does not fit.", takes=(IMAGE,), gives=(tokens,)),
            Spec("needy", "test_slots:net", "Not here.", needs=(("zz_absent", "zz-absent"),), takes=(IMAGE,)),
        ]

    @hookimpl
    def eozoo_losses(self):
        mean, log_scale = Port("mean", "B 1 H W"), Port("log_scale", "B 1 H W")
        return [
            Spec("good_loss", "test_slots:net", "Fits.", takes=(mean, log_scale, TARGET)),
            Spec("mean_loss", "test_slots:net", "Fits.", takes=(mean, TARGET)),
        ]


@pytest.fixture
def eozoo(tmp_path):
    registry = Registry()
    registry.add(Plugin, "plugin 1.0")
    assert registry.problems == []

    def call(*arguments, code=0):
        result = CliRunner().invoke(main, [str(a) for a in arguments], obj=registry, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    call.registry = registry
    return call


def test_a_misfit_is_one_line_before_training(eozoo, tmp_path):
    train = ("train", "slotted", "--run", tmp_path / "run", "--set")
    output = eozoo(*train, "model.name=encoder", code=1)
    assert output.startswith("Error: model.name: model 'encoder' ")
    assert "tokens (B, N, D), the task needs mean (B, 1, H, W) [m]" in output
    assert output.endswith("What fits: bare_net, good_net.\n")
    output = eozoo(*train, "model.name=bare_net", code=1)  # the loss wants what this network does not give
    assert "model.loss.name: loss 'good_loss' " in output
    assert "log_scale (B, 1, H, W)" in output
    assert output.endswith("What fits: mean_loss.\n")
    assert "no model 'god_net'. Did you mean 'good_net'?" in eozoo(*train, "model.name=god_net", code=1)
    assert not (tmp_path / "run").exists()
    with pytest.raises(AssertionError, match="training began"):
        eozoo(*train, "train.epochs=1")


def test_every_slot_of_an_installed_task_takes_its_own_default():
    registry = Registry.discover()
    for name in registry.names("task"):
        task = registry.get("task", name)
        registry.check_slots(task, task.Settings())


def test_show_answers_what_one_would_ask(eozoo):
    text = eozoo("show", "slotted")
    for line in (
        "  licence     Apache-2.0 (code)",
        "  purpose     For tests.",
        "  inputs      x (N, 2) in m, NaN = missing.",
        "  takes       x (B, 2) [m]",
        "  bands       east, north",
        "  outputs     y in m.",
        "  gives       y (B, 1) [m]",
        "  gaps        single values may be missing in x",
        "  network     Line",
        "  size        17 parameters with default settings",
        "  model       good_net; any model that fits: bare_net, good_net",
        "  model.loss  good_loss; any loss that fits: good_loss, mean_loss",
        "  weights     None.",
        "  measured    1 ms on paper.",
        "  limit       It is a toy.",
        "  limit       It is small.",
        "  source      Nobody 2026",
    ):
        assert f"\n{line}\n" in text
    (card,) = json.loads(eozoo("show", "slotted", "--json"))
    assert card["slots"]["model"] == {"kind": "model", "now": "good_net", "fits": ["bare_net", "good_net"], "also": []}
    assert card["limits"] == ["It is a toy.", "It is small."]
    (card,) = json.loads(eozoo("show", "good_net", "--json"))
    assert card["options"] == {"width": "4"}
    assert card["parameters"] == 2 * 4 + 4
    assert card["about"] == "A line."
    assert [port["text"] for port in card["takes"]] == ["image (B, C, H, W)"]
    assert card["blank"] == [
        *("purpose", "inputs", "outputs", "measured", "limits", "weights", "architecture", "kinds", "citation")
    ]
    assert ": its author has not said" in eozoo("show", "good_net")
    (card,) = json.loads(eozoo("show", "needy", "--json"))
    assert card["problem"].startswith("needy ")
    assert card["problem"].endswith("pip install 'zz-absent'")
    assert "\n  problem  needy needs" in eozoo("show", "needy")


@pytest.mark.slow
def test_every_installed_name_can_be_shown(monkeypatch):
    registry = Registry.discover()
    for kind in ("task", "loss", "dataset"):
        for name in registry.names(kind):
            result = CliRunner().invoke(main, ["show", name, "--json"], obj=registry)
            assert result.exit_code == 0, result.output
            assert json.loads(result.output)[0]["summary"]


def test_names_complete(eozoo, monkeypatch):
    from click.shell_completion import ShellComplete

    def complete(*words):
        shell = ShellComplete(main, {"obj": eozoo.registry}, "eozoo", "_EOZOO_COMPLETE")
        return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]

    assert complete("show", "good") == ["good_loss", "good_net"]
    assert complete("train", "s") == ["slotted"]
    assert complete("train", "good") == []
    assert "gedi_sparse" in complete("plugins", "disable", "gedi")
