"""Verification of a registered version as a process of its own, with nothing started ahead of it.

It imports the stage, which brings Prefect, starts the fresh process, and has it prove the version.
Usage: proved.py LINEAGE.json MLFLOW_URI STORAGE
"""

import sys
from pathlib import Path

from tasks import prover


def main() -> None:
    lineage_file, mlflow_uri, storage_uri = sys.argv[1:]
    prover.warm(mlflow_uri)

    from tasks.appraisal import Lineage
    from tasks.handoffs import RunContext
    from tasks.verification import verify_model

    lineage = Lineage.model_validate_json(Path(lineage_file).read_text())
    context = RunContext(
        pipeline=lineage.registered.name, run_id="", experiment_id="", mlflow_uri=mlflow_uri,
        mlflow_pages="", storage_uri=storage_uri,
    )  # fmt: skip
    proved = verify_model.fn.__wrapped__(  # no run is open to log to
        context, lineage.registered, lineage.prepared, lineage.evaluation
    )
    print(proved.model_dump_json())


main()
