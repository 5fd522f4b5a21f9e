"""Runs pipelines small, one after the other in one process, as `roundhouse run` does.

Usage: every_pipeline.py DATA WEIGHTS NAME... Prints JSON: of each pipeline that failed, the error.
"""

import json
import sys
from pathlib import Path

from rich.console import Console

from infra.running import run_pipeline
from tasks.errors import RoundhouseError
from tasks.settings import load_settings
from tests.small_runs import small, write_weights


def main() -> None:
    data, weights = Path(sys.argv[1]), Path(sys.argv[2])
    write_weights(weights)
    console = Console(stderr=True)
    failed: dict[str, str] = {}
    for name in sys.argv[3:]:
        try:
            run_pipeline(small(name, data, weights), load_settings(), console)
        except RoundhouseError as error:
            failed[name] = str(error)
    print(json.dumps(failed))


main()
