"""The suites: one file per dataset, of the same name as in tasks/datasets, and one line below."""

from collections.abc import Callable

from data_checks.checks import Check, Strictness, UnknownNameError
from data_checks.suites import breast_cancer, digits, mnist, telco_churn

SUITES: dict[str, Callable[[Strictness], list[Check]]] = {
    "breast_cancer": breast_cancer.build,
    "digits": digits.build,
    "mnist": mnist.build,
    "telco_churn": telco_churn.build,
}


def get_suite(name: str) -> Callable[[Strictness], list[Check]]:
    """The function that builds the suite of that name.

    Raises:
        UnknownNameError: There is none; the message lists those that exist.
    """
    if name not in SUITES:
        raise UnknownNameError(
            f"There is no suite of data checks named '{name}'; the known ones are "
            f"{', '.join(sorted(SUITES))}. Add data_checks/suites/{name}.py and a line in SUITES."
        )
    return SUITES[name]
