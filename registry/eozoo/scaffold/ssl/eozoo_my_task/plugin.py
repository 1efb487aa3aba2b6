"""What this plugin offers, as names and places only: ``eozoo list`` imports this module, so nothing heavy here."""

from eozoo_core import Port, Spec, hookimpl

CITATION = ""  # the paper, document or repository that your method comes from
FEEDS = (Port("image", "B C H W"),)  # what the task gives to a network: standardised bands without gaps
WANTS = (Port("features", "B D H W"),)  # what it needs from one
LOSS_FEEDS = (
    Port("mean", "B C H W"),
    Port("target", "B C H W"),
)  # hidden values, as predicted and true


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """The task; its verbs live in ``task``."""
    return [Spec("my_task", "eozoo_my_task.task:MyTask", "SUMMARY", citation=CITATION)]


@hookimpl
def eozoo_models() -> list[Spec]:
    """The network, for this task and for everybody whose slot it fits."""
    target = "eozoo_my_task.nets:my_task_net"
    summary = "Small convolutional encoder, any bands and size"
    return [Spec("my_task_net", target, summary, takes=FEEDS, gives=WANTS)]


@hookimpl
def eozoo_losses() -> list[Spec]:
    """The loss; it is called with what it takes, in that order."""
    target = "eozoo_my_task.losses:my_task_loss"
    return [Spec("my_task_loss", target, "Squared error over hidden values", takes=LOSS_FEEDS)]
