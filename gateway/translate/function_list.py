"""All functions a mapping may name, of every format."""

from __future__ import annotations

from .functions import FUNCTIONS, Function
from .functions_rows import ROW_FUNCTIONS
from .functions_v2 import V2_FUNCTIONS
from .functions_v2_more import MORE_V2_FUNCTIONS
from .strict_yaml import Yaml

ALL_FUNCTIONS: dict[str, Function] = FUNCTIONS | V2_FUNCTIONS | MORE_V2_FUNCTIONS | ROW_FUNCTIONS


def loses(node: Yaml) -> bool:
    """True for a `from` whose function may give nothing for a text that says something."""
    function = ALL_FUNCTIONS.get(node.word("by")) if node.get("from") else None
    return function is not None and function.loses
