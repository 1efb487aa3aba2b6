"""What this plugin offers, as names and places only: ``eozoo list`` imports this module, so nothing heavy here."""

from eozoo_core import Card, Port, Spec, hookimpl

CARD = Card(
    purpose="A small network for rows of tables.",
    inputs="Standardised features, any number of them, no NaN: the task fills gaps.",
    outputs="Standardised values or logits, as many as asked for; no NaN.",
    weights="None are published.",
    measured="Not measured.",
    limits=("Sees a row by itself.",),
    architecture="Multilayer perceptron",
    kinds=("regression", "classification"),
)
TAKES = (Port("features", "B C"),)
VALUE, CLASSES = "B 1", "B K"
GIVES = (Port("mean", VALUE), Port("log_scale", VALUE), Port("logits", CLASSES, "1"))
CITATION = "none: not published yet"  # where your method comes from


@hookimpl
def eozoo_models() -> list[Spec]:
    """The network."""
    target = "eozoo_my_task.nets:my_task_net"
    return [Spec("my_task_net", target, "SUMMARY", takes=TAKES, gives=GIVES, citation=CITATION, card=CARD)]
