"""What this plugin offers, as names and places only: ``eozoo list`` imports this module, so nothing heavy here."""

from eozoo_core import Port, Spec, hookimpl

CITATION = ""  # the paper, document or repository that your method comes from
FEEDS = (Port("image", "B C H W"),)  # what the task gives to a network: standardised bands without gaps
WANTS = (Port("logits", "B K H W", "1"),)  # what it needs from one
LOSS_FEEDS = (*WANTS, Port("target", "B 1 H W", "class index"))  # what it gives to a loss


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """The task; its verbs live in ``task``."""
    return [Spec("my_task", "eozoo_my_task.task:MyTask", "SUMMARY", citation=CITATION)]


@hookimpl
def eozoo_models() -> list[Spec]:
    """The network, for this task and for everybody whose slot it fits."""
    target = "eozoo_my_task.nets:my_task_net"
    return [
        Spec(
            "my_task_net",
            target,
            "Small convolutional network for classes, any bands and size",
            takes=FEEDS,
            gives=WANTS,
        )
    ]


@hookimpl
def eozoo_losses() -> list[Spec]:
    """The loss; it is called with what it takes, in that order."""
    target = "eozoo_my_task.losses:my_task_loss"
    return [Spec("my_task_loss", target, "Cross-entropy over labelled pixels", takes=LOSS_FEEDS)]
