"""What a person sees in the terminal while a pipeline runs, and at its end."""

import logging

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tasks.summary import Summary, metric_rows

SHOWN_LOGGERS = ("tasks", "data_checks", "flows")


class StageDisplay(logging.Handler):
    """Shows each stage as it starts and ends, a bar over epochs, and warnings, from log records.

    The stages log; this is one more handler. So what the terminal shows and what the Prefect UI
    shows are the same records.

    Args:
        console: Where to show it; where that is not a terminal, plain lines are written.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console
        self._progress = Progress(
            TextColumn("  …", style="cyan"),
            TextColumn("{task.description:<17}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._live = Live(Group(self._progress), console=console, transient=True)
        self._bar = self._progress.add_task("", visible=False, note="")

    def __enter__(self) -> "StageDisplay":
        if self._console.is_terminal:
            self._live.start()
        for name in SHOWN_LOGGERS:
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        for name in SHOWN_LOGGERS:
            logging.getLogger(name).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Shows one record, if it is one that a person follows."""
        try:
            match getattr(record, "event", None):
                case "started":
                    self._start(record)
                case "preset":
                    self._console.print(Text(vars(record)["preset"], style="bold"))
                case "epoch":
                    self._advance(record)
                case "finished" | "reused":
                    self._end(record)
                case _ if record.levelno >= logging.WARNING:
                    self._console.print(Text(f"  ! {record.getMessage()}", style="yellow"))
        except Exception:  # a display must never end a training
            self.handleError(record)

    def _start(self, record: logging.LogRecord) -> None:
        name = _readable(record)
        if self._console.is_terminal:
            self._progress.reset(self._bar, total=None, description=name, visible=True, note="")
        else:
            self._console.print(Text(f"  … {name}"))

    def _advance(self, record: logging.LogRecord) -> None:
        values = vars(record)
        epoch, epochs, metrics = values["epoch"], values["epochs"], values["metrics"]
        note = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        if self._console.is_terminal:
            self._progress.update(
                self._bar, total=epochs, completed=epoch, note=f"epoch {epoch}/{epochs}  {note}"
            )
        else:
            filled = round(24 * epoch / epochs)
            bar = "█" * filled + "░" * (24 - filled)
            line = Text(f"    {bar} epoch {epoch}/{epochs}  {note}")
            self._console.print(line, soft_wrap=True)

    def _end(self, record: logging.LogRecord) -> None:
        values = vars(record)
        self._progress.update(self._bar, visible=False)
        mark = Text("✓", "green") if values["event"] == "finished" else Text("=", "blue")
        outcome = values.get("outcome", "")
        note = outcome if values["event"] == "finished" else f"{outcome} (reused)"
        line = Text.assemble(
            "  ", mark, f" {_readable(record):<17}", f"{values['seconds']:6.1f} s  "
        )
        self._console.print(line + Text(note, style="dim"), soft_wrap=True)


def show_summary(
    console: Console, summary: Summary, seconds: float, log: str, *, served: bool = False
) -> None:
    """Shows what a run came to.

    Args:
        console: Where to show it.
        summary: The flow's outcome.
        seconds: Seconds that the whole command took.
        log: Path of the log file.
        served: Whether the pages over the run are there now.
    """
    if summary.up_to_date:
        console.print(Text.assemble((summary.pipeline, "bold"), f" is {summary.up_to_date}"))
        return
    passed, total = summary.checks
    console.print()
    _tell(console, "Data", f"{summary.rows:,} rows, {passed} of {total} checks passed")
    for warning in summary.warnings:
        _tell(console, "", f"! {warning}", style="yellow")
    console.print(_metric_table(summary))
    for sentence in summary.slices:
        _tell(console, "Slices", sentence)
    _tell(console, "Verdict", summary.verdict, style="green" if summary.promoted else "yellow")
    _tell(console, "Model", f"{summary.model} v{summary.version}, {' and '.join(summary.aliases)}")
    _tell(console, "Proof", summary.proof)
    for sentence in summary.exports:
        _tell(console, "Export", sentence)
    _tell(console, "Took", f"{seconds:.1f} s; full log in {log}")
    page = summary.page if served else ""
    start = "roundhouse up: this run's pictures and check report, in a browser"
    _tell(console, "Browse", page or start)


def _tell(console: Console, title: str, text: str, style: str = "") -> None:
    """Shows a text as it is beside its title: a `[` in a warning or a path is no markup."""
    console.print(Text.assemble((f"{title:<10}", "bold"), (text, style)))


def _metric_table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    rows = metric_rows(summary)
    for name in rows[0] if rows else ():
        is_name = name == "metric"
        title = Text("Test      " if is_name else name)
        table.add_column(title, justify="left" if is_name else "right")
    for row in rows:
        table.add_row(*map(Text, row.values()))
    return table


def _readable(record: logging.LogRecord) -> str:
    return str(vars(record)["stage"]).replace("_", " ")
