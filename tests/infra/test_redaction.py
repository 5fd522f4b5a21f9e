"""What Prefect keeps of log records that quote parameters."""

import logging
import os
import subprocess
import sys

from infra.environment import PREFECT
from infra.redaction import WithoutSecrets

ADDRESS = "http://me:hush@host/x?key=secret"


def test_passwords_and_keys_are_taken_out_of_a_record_and_its_traceback() -> None:
    try:
        raise ValueError(f"input_value='{ADDRESS}'")
    except ValueError as error:
        record = logging.LogRecord(
            "prefect.flow_runs", 40, "", 1, "refused: %s", (error,), sys.exc_info()
        )
    assert WithoutSecrets().filter(record)
    text = logging.Formatter().format(record)
    assert "refused: input_value='http://host/x?...'" in text
    assert "Traceback" in text
    assert "raise ValueError" in text
    assert "hush" not in text
    assert "secret" not in text


def test_other_records_stay_as_they_are() -> None:
    record = logging.LogRecord("tasks", 20, "", 1, "epoch %d of %d?yes", (1, 2), None)
    assert WithoutSecrets().filter(record)
    assert (record.msg, record.args) == ("epoch %d of %d?yes", (1, 2))


def test_prefect_logs_through_it() -> None:
    code = (
        "import logging, prefect; prefect.logging.configuration.setup_logging(incremental=False); "
        f"logging.getLogger('infra').warning('refused: {ADDRESS}')"
    )
    variables = {**PREFECT, "PREFECT_LOGGING_ROOT_HANDLERS": "stream"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "refused: http://host/x?..." in done.stderr
