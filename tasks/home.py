"""The folder that holds everything when nothing else is said."""

from tasks.errors import ConfigError
from tasks.settings import Settings
from tasks.stores import disk_errors

ODD_IN_ADDRESSES = "%#?"


def prepare_home(settings: Settings) -> None:
    """Makes the home and its log folder, readable by their owner only where they are new.

    Raises:
        ConfigError: The path cannot be part of a database's address.
        StorageError: They cannot be made or written to.
    """
    home = settings.home_folder
    if odd := sorted(set(str(home)) & set(ODD_IN_ADDRESSES)):
        raise ConfigError(
            f"The home {home} has {' and '.join(odd)} in its path; expected none of "
            f"{' '.join(ODD_IN_ADDRESSES)}, which mean something else in a database's address. Set "
            "ROUNDHOUSE_HOME to another folder."
        )
    with disk_errors(str(home)):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.log_folder.mkdir(exist_ok=True)
        probe = home / ".writable"
        probe.touch()
        probe.unlink()
