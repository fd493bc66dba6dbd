"""A newer issue of something stored: corrected, withdrawn, replaced, late."""

from .link import numbers
from .message import Revised, Step, revise
from .moved import visits_of
from .report import plan_report
from .study import merge_study

__all__ = ["Revised", "Step", "merge_study", "numbers", "plan_report", "revise", "visits_of"]
