"""Runs small pipelines on planted personal values in one process, as `roundhouse run` does.

Usage: private_runs.py DATA. In DATA are the files of `planted.write_all`. Prints JSON: of each run,
the error, or null.
"""

import json
import sys
from pathlib import Path

from infra.databases import prepare_databases
from infra.running import RunEnded, log_file, prefect_api, run_flow
from tasks.home import prepare_home
from tasks.settings import load_settings
from tests.planted import CONFIGURATIONS, plant


def main() -> None:
    plant()
    settings = load_settings()
    prepare_home(settings)
    prepare_databases(settings)
    failed: dict[str, str | None] = {}
    with prefect_api(settings) as server:
        for name, make in CONFIGURATIONS.items():
            try:
                with log_file(settings, name):
                    run_flow(make(Path(sys.argv[1])), server, force=False)
                failed[name] = None
            except RunEnded as error:
                failed[name] = str(error.__cause__)
    print(json.dumps(failed))


main()
