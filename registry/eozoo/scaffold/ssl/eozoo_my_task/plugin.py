"""What this plugin offers, as names and places only: ``eozoo list`` imports this module, so nothing heavy here."""

from eozoo_core import Card, Port, Spec, hookimpl

# What follows is for people: eozoo show my_task. Say what is true of yours, and measure before you write a number.
CITATION = "none: not published yet"  # the paper, document or repository that your method comes from
FEEDS = (Port("image", "B C H W"),)  # what the task gives to a network: standardised bands without gaps
WANTS = (Port("features", "B D H W"),)  # what it needs from one
LOSS_FEEDS = (Port("mean", "B C H W"), Port("target", "B C H W"))  # hidden values, as predicted and true
TASK_CARD = Card(
    purpose="Features of every pixel, where images are and no labels.",
    inputs="GeoTIFFs of float bands, any number and resolution, nodata or NaN = missing; no labels. Statistics of "
    "each band come from the training images and travel in the checkpoint.",
    outputs="Features of every pixel, plain numbers; nodata or NaN where a band is missing.",
    weights="None are published: it begins at random and is trained on your images.",
    measured="Not measured.",
    limits=("What its demo writes is synthetic and says nothing about real skill.",),
    architecture="Convolutional network",
    kinds=("similarity-search",),
)
NET_CARD = Card(
    purpose="The network of my_task, and a small one for other tasks.",
    inputs="Standardised bands (mean 0, deviation 1), any number of them, any image size, no NaN: the task fills gaps.",
    outputs="Features (16 unless set), plain numbers; no NaN.",
    weights="None are published: it begins at random.",
    measured="Not measured.",
    limits=("Sees 9 pixels across with 3 blocks: nothing larger.",),
    architecture="Convolutional network",
    kinds=("similarity-search",),
)
LOSS_CARD = Card(
    purpose="Learns features by guessing hidden values.",
    inputs="Predicted and true values of hidden pixels, each (B, C, H, W), in one unit; NaN = was not hidden.",
    outputs="(sum, count) over hidden values, squared unit of the bands; no NaN.",
    measured="Not measured.",
    limits=("Bands with a wide range count most.",),
)


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """The task; its verbs live in ``task``."""
    return [Spec("my_task", "eozoo_my_task.task:MyTask", "SUMMARY", citation=CITATION, card=TASK_CARD)]


@hookimpl
def eozoo_models() -> list[Spec]:
    """The network, for this task and for everybody whose slot it fits."""
    target = "eozoo_my_task.nets:my_task_net"
    summary = "Small convolutional encoder, any bands and size"
    return [Spec("my_task_net", target, summary, takes=FEEDS, gives=WANTS, citation=CITATION, card=NET_CARD)]


@hookimpl
def eozoo_losses() -> list[Spec]:
    """The loss; it is called with what it takes, in that order."""
    target = "eozoo_my_task.losses:my_task_loss"
    summary = "Squared error over hidden values"
    return [Spec("my_task_loss", target, summary, takes=LOSS_FEEDS, citation="none: textbook", card=LOSS_CARD)]
