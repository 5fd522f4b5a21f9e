"""What MLflow raises when it is away, as one sentence that shows no password."""

import contextlib
from collections.abc import Iterator

from tasks.errors import ConfigError, RoundhouseError, ServiceError
from tasks.remote import said_by_system, scrubbed, shown

# what MLflow calls a database that is locked or gone, and a server that is down or overrun
AWAY = ("TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED")
# what it calls a password that is wrong or missing, and a name that it does not answer to
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
BUSY, SERVER_ERROR = 429, 500
REASON_SHOWN = 200


@contextlib.contextmanager
def service_errors(uri: str) -> Iterator[None]:
    """Says in a sentence that MLflow does not answer; its other errors pass, as do our own.

    No cause is attached: MLflow's texts quote the address in full, and tracebacks go to a log.

    Args:
        uri: Address of tracking store and registry.

    Raises:
        ServiceError: MLflow does not answer, or broke off.
        ConfigError: It does not let us in, or refuses in words that hold the address's password.
    """
    try:
        yield
    except RoundhouseError:
        raise
    except Exception as error:
        if _is_silence(error):
            said = said_by_system(error) or _first_line(error)
            raise ServiceError(
                f"MLflow at {shown(uri)} does not answer ({said}); expected it to be there as it "
                "was when the run began. See whether it still runs and whether "
                "ROUNDHOUSE_TRACKING_URI is right, and run again: what is done is not done twice."
            ) from None
        if getattr(error, "error_code", None) in REFUSED:
            raise _no_entry(uri, error) from None
        if scrubbed(str(error)) == str(error):
            raise
        raise ConfigError(
            f"MLflow at {shown(uri)} refuses ({_first_line(error)}); expected it to accept what a "
            "run logs. Correct ROUNDHOUSE_TRACKING_URI."
        ) from None


def _no_entry(uri: str, error: Exception) -> ConfigError:
    """Why a server that is there does not let us in, and what lets us."""
    if "Host header" in str(error):
        return ConfigError(
            f"The MLflow server at {shown(uri)} does not answer to that name; expected one of "
            "those that it was started with. Start it with the name in ROUNDHOUSE_ALLOWED_HOSTS."
        )
    return ConfigError(
        f"The MLflow server at {shown(uri)} does not let us in; expected its user and password. "
        "Set ROUNDHOUSE_USER and ROUNDHOUSE_PASSWORD or ROUNDHOUSE_PASSWORD_FILE to those with "
        "which it was started."
    )


def _is_silence(error: Exception) -> bool:
    """Whether a service is away, rather than saying no or being asked something wrong."""
    import requests
    from sqlalchemy.exc import OperationalError

    # boto and others name their errors differently; what lies below is the network's own
    if isinstance(error, ConnectionError | TimeoutError | OperationalError):
        return True
    if isinstance(error, requests.exceptions.RequestException):
        status = error.response.status_code if error.response is not None else SERVER_ERROR
        return status == BUSY or status >= SERVER_ERROR
    code = getattr(error, "error_code", None)
    return code in AWAY or (code == "INTERNAL_ERROR" and _is_unsent(error))


def _is_unsent(error: Exception) -> bool:
    """Whether MLflow's client got no answer to a request; one from a server names no address."""
    return str(error).startswith("API request to ") and "://" in str(error)


def _first_line(error: Exception) -> str:
    lines = scrubbed(str(error)).strip().splitlines()
    return lines[0][:REASON_SHOWN] if lines else type(error).__name__
