"""The contract between the command and a task: what a system writes, and the verbs that core has for all."""

from eozoo_core.spec import Port
from eozoo_core.task.contract import Arrays, Metrics, Ports, Registry, Sample, Scores
from eozoo_core.task.results import Graph, Network, Plan
from eozoo_core.task.survey import Fitted, Survey
from eozoo_core.task.task import Predictor, Task

__all__ = [
    "Arrays",
    "Fitted",
    "Graph",
    "Metrics",
    "Network",
    "Plan",
    "Port",
    "Ports",
    "Predictor",
    "Registry",
    "Sample",
    "Scores",
    "Survey",
    "Task",
]
