"""``eozoo check``: a look at the data before training. A task describes its splits, and this judges them.

findings  what was found: subject, level, what was measured, remedy
units     what values of a unit look like, and what a wrong unit looks like
survey    reading some samples of each split
verdicts  findings from a survey: bands, missing values, ranges, labels
splits    the one rule of what two splits may not share: check reports it, training is refused by it;
          ``places`` measures ground, ``leakage`` files, pixels and times
shares    whether each split has enough labels, of the same kind
design    the split designer; ``division`` says what it came to, ``assign`` and ``near`` do its sums
schedule  how many optimiser steps training takes, and whether the learning rate's schedule fits
preview   the picture
folders   the check of a task that has none of its own
"""

from eozoo_core.checking.findings import Finding, Findings
from eozoo_core.checking.places import Place, place_of
from eozoo_core.checking.schedule import judge_schedule
from eozoo_core.checking.splits import Separation, judge_splits, require_separate
from eozoo_core.checking.survey import Classes, Item, Seen, Split
from eozoo_core.checking.units import Channel, channel
from eozoo_core.checking.verdicts import Expected, check_splits
