"""The suites: each file here is one, and of the same name as its dataset in tasks/datasets."""

import importlib
import pkgutil
from collections.abc import Callable

from data_checks.checks import Check, Strictness, UnknownNameError

SUITES: dict[str, Callable[[Strictness], list[Check]]] = {
    found.name: importlib.import_module(f"{__name__}.{found.name}").build
    for found in pkgutil.iter_modules(__path__)
}


def get_suite(name: str) -> Callable[[Strictness], list[Check]]:
    """The function that builds the suite of that name.

    Raises:
        UnknownNameError: There is none; the message lists those that exist.
    """
    if name not in SUITES:
        raise UnknownNameError(
            f"There is no suite of data checks named '{name}'; the known ones are "
            f"{', '.join(sorted(SUITES))}. Add data_checks/suites/{name}.py with a function build."
        )
    return SUITES[name]
