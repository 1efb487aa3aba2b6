"""What this plugin offers, as names and places only: ``eozoo list`` imports this module, so nothing heavy here."""

from eozoo_core import Card, Port, Spec, hookimpl

# What follows is for people: eozoo show my_task. Say what is true of yours, and measure before you write a number.
CITATION = "none: not published yet"  # the paper, document or repository that your method comes from
INPUTS = "Columns ndvi_0, vv_0 (dB), ndvi_1, ... of any dates, elevation (m) and slope (degree); empty = missing."
TASK_CARD = Card(
    purpose="Samples of several inputs, a row of a table each.",
    inputs=INPUTS,
    outputs="The target and its standard deviation, in the target's unit.",
    weights="None are published: it begins at random.",
    measured="Not measured.",
    limits=("What its demo writes is synthetic and says nothing about real skill.",),
    architecture="Multilayer perceptron",
    kinds=("regression",),
)
NET_CARD = Card(
    purpose="Features of a sample, for the tasks of tables.",
    inputs=INPUTS,
    outputs="Features (32 unless set); no NaN.",
    weights="None are published: it begins at random.",
    measured="Not measured.",
    limits=("The order of the dates does not count.",),
    architecture="Multilayer perceptron",
    kinds=("similarity-search",),
)
TAKES = (Port("columns", "B F"), Port("missing", "B F", "1 = missing"))


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """The task."""
    return [Spec("my_task", "eozoo_my_task.task:MyTask", "SUMMARY", citation=CITATION, card=TASK_CARD)]


@hookimpl
def eozoo_models() -> list[Spec]:
    """The encoder, for this task and for everybody whose slot it fits."""
    target, gives = "eozoo_my_task.nets:my_task_encoder", (Port("embedding", "B D"),)
    summary = "Encoder of a series and a place"
    return [Spec("my_task_encoder", target, summary, takes=TAKES, gives=gives, citation=CITATION, card=NET_CARD)]
