"""`roundhouse reproduce`: a registered version made again, and what came of it in the terminal."""

import time
from typing import TYPE_CHECKING

from infra import databases, environment
from infra.interrupts import orderly_interrupts
from infra.running import alone, called, log_file, prefect_api
from tasks.home import prepare_home
from tasks.settings import Settings
from tasks.versions import locate_version, parse_address

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.appraisal import Reproduction


def reproduce_version(address: str, settings: Settings, console: "Console") -> bool:
    """Makes a version again in this process and shows how it compares.

    Args:
        address: `digits`, `digits@previous` or `digits/3`.
        settings: Places and addresses.
        console: Where it is shown.

    Returns:
        Whether it came out bit for bit.

    Raises:
        RoundhouseError: It could not start, for a reason that we can explain.
        RunEnded: It started and failed.
    """
    started, (name, _) = time.perf_counter(), parse_address(address)
    prepare_home(settings)
    environment.apply(environment.credentials(settings))
    title = f"reproduce-{name}"
    with orderly_interrupts(), alone(title, settings, console) as found:
        databases.prepare_databases(found)
        # a name that is wrong is told before a server is started
        _, number = locate_version(address, found)
        with prefect_api(found) as server, log_file(found, title) as log:
            from flows.reproducing import reproduce
            from infra.display import StageDisplay

            console.print(f"[bold]{name}[/]: v{number} again")
            with StageDisplay(console):
                reproduction = called(lambda: reproduce(address), name, server)
            show_reproduction(console, reproduction)
            console.print(f"Took {time.perf_counter() - started:.1f} s; full log in {log}")
    return reproduction.identical


def show_reproduction(console: "Console", reproduction: "Reproduction") -> None:
    """Shows how a version and what was made again compare; its cautions were shown before."""
    from rich.text import Text

    mark = Text("✓ ", "green") if reproduction.identical else Text("✗ ", "yellow")
    console.print()
    console.print(mark + Text(f"{reproduction.sentence}."), soft_wrap=True)
    digests = {"registered": reproduction.digest, "made again": reproduction.reproduced_digest}
    for whose, digest in digests.items():
        console.print(Text(f"  {whose:<11} weights {digest}", "dim"), soft_wrap=True)
