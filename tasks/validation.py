"""From a snapshot to checked data: the dataset's suite decides whether training starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from data_checks.checks import Strictness, UnknownNameError
from data_checks.profile import STATISTICS, image_statistics
from data_checks.report import CheckReport
from data_checks.runner import run_checks
from tasks import announcements
from tasks.config import CheckConfig
from tasks.errors import ConfigError, DataCheckFailed
from tasks.handoffs import CheckedData, RunContext, Snapshot
from tasks.snapshots import images, read_snapshot
from tasks.stages import stage
from tasks.storage import Storage

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

logger = logging.getLogger(__name__)


def profiled_frame(table: pyarrow.Table, snapshot: Snapshot) -> pd.DataFrame:
    """The table as a frame, with each image column replaced by statistics of its images.

    Args:
        table: All rows of the snapshot.
        snapshot: Whose columns say which are images.

    Returns:
        One row per row of the table; strings as `str`, numbers as float64 or int64.
    """
    import pandas as pd

    pictures = [column for column in snapshot.columns if column.kind == "image"]
    plain: pd.DataFrame = table.drop_columns([column.name for column in pictures]).to_pandas()
    statistics = [image_statistics(images(table, column), column.name) for column in pictures]
    return pd.concat([plain, *statistics], axis=1)


def strictness_for(config: CheckConfig, snapshot: Snapshot) -> Strictness:
    """How strict the suite is; of a trial run, the number of rows is not judged."""
    return Strictness(
        minimum_rows=1 if snapshot.trial else config.minimum_rows,
        maximum_missing=config.maximum_missing,
        minimum_label_share=config.minimum_label_share,
        labels=snapshot.labels,
    )


def personal_names(snapshot: Snapshot) -> frozenset[str]:
    """The columns of the profiled frame whose values are shown nowhere."""
    hidden = [column for column in snapshot.columns if column.personal]
    pictures = [column.name for column in hidden if column.kind == "image"]
    statistics = {f"{name}_{statistic}" for name in pictures for statistic in STATISTICS}
    return frozenset({column.name for column in hidden} | statistics)


def check_frame(
    frame: pd.DataFrame, snapshot: Snapshot, config: CheckConfig
) -> tuple[CheckReport, str]:
    """The report on the frame, and its page.

    Raises:
        ConfigError: `warn_only` names a check that does not exist, or the dataset has no suite.
    """
    try:
        return run_checks(
            frame,
            snapshot.dataset,
            strictness_for(config, snapshot),
            personal=personal_names(snapshot),
            warn_only=frozenset(config.warn_only),
            examples=config.examples,
        )
    except UnknownNameError as error:
        raise ConfigError(f"{error} Mend checks.warn_only.") from error


@stage(code=("data_checks", "tasks.columns", "tasks.snapshots"))
def check_data(context: RunContext, snapshot: Snapshot, config: CheckConfig) -> CheckedData:
    """Runs the dataset's checks; failures stop here, together, and warnings are told."""
    storage = Storage(context.storage_uri)
    frame = profiled_frame(read_snapshot(storage, snapshot), snapshot)
    report, page = check_frame(frame, snapshot, config)
    stored_report = storage.put_bytes(report.to_json().encode(), ".json")
    stored_page = storage.put_bytes(page.encode(), ".html")
    logger.info("%d of %d checks passed on %d rows", report.passed, report.total, report.rows)
    for warning in report.warnings:
        logger.warning("%s [%s]", warning.sentence, warning.check)
    if report.errors:
        announcements.announce_failed_checks(context, report.summary())
        raise DataCheckFailed(
            f"{report.summary()}\nMend the data; or, if it is as it should be, change checks.* of "
            "the pipeline, or name the checks in checks.warn_only to be warned only.",
            evidence={"checks/report.json": stored_report, "checks/index.html": stored_page},
        )
    return CheckedData(
        snapshot=snapshot,
        passed=report.passed,
        warnings=tuple(warning.sentence for warning in report.warnings),
        total=report.total,
        report=stored_report,
        data_docs=stored_page,
    )
