"""Runs pipelines small, one after the other in one process, as `roundhouse run` does.

Usage: every_pipeline.py DATA WEIGHTS NAME... Prints JSON: of each pipeline that failed, the error.
On JAX, which is for GPUs, they train in the precision of one.
"""

import json
import os
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
    as_on_a_gpu = os.environ.get("KERAS_BACKEND") == "jax"
    failed: dict[str, str] = {}
    for name in sys.argv[3:]:
        try:
            config = small(name, data, weights, as_on_a_gpu=as_on_a_gpu)
            run_pipeline(config, load_settings(), console)
        except RoundhouseError as error:
            failed[name] = str(error)
    print(json.dumps(failed))


main()
