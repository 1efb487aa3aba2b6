"""What this plugin offers, as names and places only: ``eozoo list`` imports this module, so nothing heavy here."""

from eozoo_core import Card, Port, Spec, hookimpl

# What follows is for people: eozoo show my_task. Say what is true of yours, and measure before you write a number.
CITATION = "none: not published yet"  # the paper, document or repository that your method comes from
FEEDS = (Port("image", "B C H W"),)  # what the task gives to a network: standardised bands without gaps
WANTS = (Port("mean", "B 1 H W"),)  # what it needs from one
LOSS_FEEDS = (*WANTS, Port("target", "B 1 H W"))  # what it gives to a loss
TASK_CARD = Card(
    purpose="Maps of a value, where images are and some of it was measured.",
    inputs="GeoTIFFs of float bands, any number and resolution, nodata or NaN = missing; labels, one "
    "float band, nodata or NaN = no label. Statistics of each band come from the training images and travel in the "
    "checkpoint.",
    outputs="The value in every pixel, in the unit of the labels; nodata or NaN where a band is missing.",
    weights="None are published: it begins at random and is trained on your images.",
    measured="Not measured.",
    limits=("What its demo writes is synthetic and says nothing about real skill.",),
    architecture="Convolutional network",
    kinds=("regression",),
)
NET_CARD = Card(
    purpose="The network of my_task, and a small one for other tasks.",
    inputs="Standardised bands (mean 0, deviation 1), any number of them, any image size, no NaN: the task fills gaps.",
    outputs="The mean of the target, standardised as in training; no NaN.",
    weights="None are published: it begins at random.",
    measured="Not measured.",
    limits=("Sees 9 pixels across with 3 blocks: nothing larger.",),
    architecture="Convolutional network",
    kinds=("regression",),
)
LOSS_CARD = Card(
    purpose="Learns a value from labels in some pixels.",
    inputs="Mean and target, each (B, 1, H, W), in one unit; a target of NaN = no label.",
    outputs="(sum, count) over labelled pixels, squared unit of the target; no NaN.",
    measured="Not measured.",
    limits=("Outlying labels pull strongly.",),
)


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """The task; its verbs live in ``task``."""
    return [Spec("my_task", "eozoo_my_task.task:MyTask", "SUMMARY", citation=CITATION, card=TASK_CARD)]


@hookimpl
def eozoo_models() -> list[Spec]:
    """The network, for this task and for everybody whose slot it fits."""
    target = "eozoo_my_task.nets:my_task_net"
    summary = "Small convolutional network for one value per pixel, any bands and size"
    return [Spec("my_task_net", target, summary, takes=FEEDS, gives=WANTS, citation=CITATION, card=NET_CARD)]


@hookimpl
def eozoo_losses() -> list[Spec]:
    """The loss; it is called with what it takes, in that order."""
    target = "eozoo_my_task.losses:my_task_loss"
    summary = "Squared error over labelled pixels"
    return [Spec("my_task_loss", target, summary, takes=LOSS_FEEDS, citation="none: textbook", card=LOSS_CARD)]
