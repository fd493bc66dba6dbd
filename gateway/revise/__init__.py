"""A newer issue of something stored: corrected, withdrawn, replaced, late."""

from .link import numbers
from .meet import puts_met
from .message import Revised, revise
from .moved import visits_of
from .report import plan_report
from .study import merge_study
from .version import Step

__all__ = ["Revised", "Step", "merge_study", "numbers", "plan_report", "puts_met", "revise", "visits_of"]
