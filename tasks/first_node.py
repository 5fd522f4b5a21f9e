"""The first process of a training over several machines, as the run that it works for sees it.

JAX ends a whole process when another one of the training is lost. The run's own process, which has
to say how it went and hears when it is cancelled or moved, therefore starts one that trains, and
never joins the others itself. What that runs is `tasks.node_process`.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from tasks import errors
from tasks.errors import ConfigError, PermanentError, ServiceError
from tasks.judgement import TrainedModel
from tasks.scratch import scratch_folder
from tasks.settings import PROJECT_FOLDER
from tasks.storage import Storage

# of sysexits.h, as the process ends on errors that no other attempt mends
EXIT_PERMANENT = 78
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# of what is no line of a log, such as a crash's trace
LINES_KEPT = 20
SECONDS_TO_END = 10.0
logger = logging.getLogger(__name__)


def train_with_others(order: str, result: str, storage: Storage) -> TrainedModel:
    """What the processes of a training made, of which the first is started here and waited for.

    Which process it is, and where the first is, the environment says (`tasks.nodes.this_node`); the
    settings as well. Where this raises, by a signal's handler too, the process is ended, and with
    it the others.

    Args:
        order: Name of the record of the order, a `tasks.nodes.TrainingOrder`.
        result: The order's `record`.
        storage: What all processes share.

    Raises:
        PermanentError: As the training said it; no other attempt mends that.
        ServiceError: The process or another one was lost; all may start again at the checkpoint.
    """
    with scratch_folder(None) as folder:
        last_words = folder / "last-words.json"
        process = _started(order, last_words)
        try:
            unexplained = _told(process.stderr or ())
            status = process.wait()
        finally:
            _end(process)
        if status:
            raise _failure(status, last_words, unexplained)
    content = storage.read_record(result)
    if content is None:
        raise ConfigError(
            f"The training is complete and left nothing under {result!r} in {storage.uri}; "
            "expected its result there. Give it the order whose record that is."
        )
    return TrainedModel.model_validate_json(content)


def _started(order: str, last_words: Path) -> "subprocess.Popen[str]":
    paths = (os.environ.get("PYTHONPATH", ""), str(PROJECT_FOLDER))
    return subprocess.Popen(
        [sys.executable, "-m", "tasks.node_process", order, str(last_words)],
        # it ends once this is closed, however this process ends
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        start_new_session=True,
    )


def _told(lines: Iterable[str]) -> list[str]:
    """Logs what the process logs, until it ends; returns the last of what else it says."""
    unexplained: deque[str] = deque(maxlen=LINES_KEPT)
    for line in lines:
        level, _, message = line.rstrip().partition(" ")
        if level in LEVELS:
            logger.log(logging.getLevelNamesMapping()[level], message)
        else:
            unexplained.append(line.rstrip())
    return list(unexplained)


def _end(process: "subprocess.Popen[str]") -> None:
    """Ends the process if it still works, and the streams to it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stderr):
        if stream:
            stream.close()


def _failure(status: int, last_words: Path, unexplained: list[str]) -> Exception:
    """What the end of the process means."""
    kind, said = json.loads(last_words.read_text()) if last_words.is_file() else ("", "")
    if status == EXIT_PERMANENT:
        error: type[Exception] = getattr(errors, kind, PermanentError)
        return error(said)
    for line in unexplained:
        logger.error(line)
    how = f"{kind}: {said}" if kind else _ending(status)
    return ServiceError(
        f"The first process of this training ended ({how}); expected all processes to last. If it "
        "lost another one, look at that one's log first. All start again at the last checkpoint."
    )


def _ending(status: int) -> str:
    if status == -signal.SIGABRT:
        return "JAX ended it, as another process was lost"
    if status < 0:
        return f"{signal.Signals(-status).name}, as for lack of memory if nobody has sent that"
    return f"exit status {status}"
