"""Where a run comes from: the commit, the lock file, and its Prefect flow run."""

import functools
import getpass
import socket
import subprocess

from tasks.fingerprints import environment_digest
from tasks.settings import PROJECT_FOLDER

COMMIT, DIRTY = "mlflow.source.git.commit", "roundhouse.git_dirty"


def describe_surroundings() -> dict[str, str]:
    """The tags that no stage knows: code, lock, user, and the Prefect flow run's address."""
    from prefect import runtime

    tags = {**git_state(), "roundhouse.lock": environment_digest(), "mlflow.user": user()}
    if address := prefect_address():
        tags["roundhouse.prefect_flow_run"] = str(runtime.flow_run.id)
        tags["roundhouse.prefect_address"] = address
    return tags


def prefect_address() -> str:
    """Where the current Prefect flow run has its page; empty outside of one."""
    from prefect import runtime
    from prefect.settings import get_current_settings

    if not runtime.flow_run.id:
        return ""
    settings = get_current_settings()
    pages = settings.ui_url or (settings.api.url or "").removesuffix("/api")
    return f"{pages}/runs/flow-run/{runtime.flow_run.id}"


@functools.cache
def git_state() -> dict[str, str]:
    """The commit of the code and whether the tree had changes; nothing where there is no git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    dirty = bool(_git("status", "--porcelain", "--untracked-files=normal"))
    return {COMMIT: commit, DIRTY: str(dirty).lower()}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT_FOLDER), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def this_user() -> str:
    """Who is at work here, and on which machine."""
    return f"{user()} on {socket.gethostname()}"


def user() -> str:
    """The name that the system knows this process by."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a container may run under a number that has no name
        return "unknown"
