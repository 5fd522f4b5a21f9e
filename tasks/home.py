"""The folder that holds everything when nothing else is said."""

from tasks.settings import Settings
from tasks.storage import disk_errors


def prepare_home(settings: Settings) -> None:
    """Makes the home and its log folder, readable by their owner only where they are new.

    Raises:
        StorageError: They cannot be made or written to.
    """
    home = settings.home_folder
    with disk_errors(str(home)):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.log_folder.mkdir(exist_ok=True)
        probe = home / ".writable"
        probe.touch()
        probe.unlink()
