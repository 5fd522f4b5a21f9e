"""Bad input through the real command: one clear sentence, and nothing else touched."""

import gzip
import hashlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILE = "Telco-Customer-Churn.csv"
OWN_DATA = (
    "--set", "ingestion.checksum=none",
    "--set", "checks.minimum_rows=50",
    "--set", "training.epochs=2",
    "--set", "gate.minimum=null",
    "--set", "gate.beat_baseline=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def served(roundhouse_at: Any, tmp_path_factory: Any, prefect_server: str, telco: Any) -> Any:
    """The command on a home in which the pipeline `churn` has a champion already."""
    root = tmp_path_factory.mktemp("served")
    command = roundhouse_at(root / "home", ROUNDHOUSE_PREFECT_API_URL=prefect_server)
    telco().to_csv(root / FILE, index=False)
    done = command("run", "churn", *OWN_DATA, ROUNDHOUSE_DATA_DIR=str(root))
    assert done.returncode == 0, done.stderr
    assert command.registry() == [("churn", 1, {"champion": 1, "challenger": 1})]
    return command


@pytest.fixture
def refused(served: Any, prefect_server: str, tmp_path: Path) -> Callable[..., str]:
    """Runs churn on what lies in tmp_path; gives the sentence, and sees that all else is as it was.

    With recorded=False, the run is refused before it exists; else its log's path is `.log`.
    """

    def run(
        *arguments: str, recorded: bool = True, in_mlflow: bool = True, **variables: str
    ) -> str:
        arguments = arguments or ("run", "churn", *OWN_DATA)
        _, pipeline, *_ = arguments
        registry, runs, content = served.registry(), served.runs(pipeline), stored(served.home)
        flow_runs = all_flow_runs(prefect_server)
        variables = {"ROUNDHOUSE_DATA_DIR": str(tmp_path), **variables}
        done = served(*arguments, **variables)
        assert done.returncode != 0
        assert "Traceback" not in done.stdout + done.stderr
        *lines, last = done.stderr.strip().splitlines()
        assert done.stderr.startswith("✗ ")
        assert served.registry() == registry
        assert content.items() <= stored(served.home).items()
        new = all_flow_runs(prefect_server)[len(flow_runs) :]
        new_runs = served.runs(pipeline)[: len(served.runs(pipeline)) - len(runs)]
        sentence = " ".join([*lines, *([] if recorded else [last])]).removeprefix("✗ ")
        if recorded:
            assert last.startswith("  The full log, with the traceback: ")
            run.log = Path(last.split(": ", 1)[1])
            assert "Traceback" in run.log.read_text()
            assert [run["state_type"] for run in new] == ["FAILED"]
            assert sentence[:60] in new[0]["state"]["message"]
        else:
            assert new == []
        if recorded and in_mlflow:
            assert [run.info.status for run in new_runs] == ["FAILED"]
            assert new_runs[0].data.tags["roundhouse.reason"].startswith(sentence[:60])
        else:
            assert new_runs == []
        return sentence

    return run


def stored(home: Path) -> dict[str, str]:
    files = (home / "storage" / "content").rglob("*")
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}


def all_flow_runs(api_url: str) -> list[dict[str, Any]]:
    body = json.dumps({"sort": "START_TIME_ASC"}).encode()
    request = urllib.request.Request(
        f"{api_url}/flow_runs/filter", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return list(json.load(answer))


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / FILE


def test_unknown_pipeline(refused: Any) -> None:
    sentence = refused("run", "chrun", recorded=False)
    assert sentence.startswith("Unknown pipeline 'chrun'. Did you mean 'churn'? Known: digits,")


def test_unknown_key(refused: Any) -> None:
    sentence = refused("run", "churn", "--set", "training.epoch=3", recorded=False)
    assert "Unknown key 'training.epoch'. Did you mean 'epochs'?" in sentence


def test_mistyped_value(refused: Any) -> None:
    sentence = refused("run", "churn", "--set", "training.epochs=many", recorded=False)
    assert sentence.startswith("Received training.epochs='many'; input should be a valid integer")


def test_value_out_of_range(refused: Any) -> None:
    sentence = refused("run", "churn", "--set", "split.test=0.9", recorded=False)
    assert sentence.startswith("Received split.test=0.9; input should be less than 0.5")


def test_missing_file(refused: Any, tmp_path: Path) -> None:
    sentence = refused()
    assert FILE in sentence
    assert "ROUNDHOUSE_DATA_DIR" in sentence


def test_checksum_mismatch(refused: Any, csv: Path, telco: Any) -> None:
    telco(rows=100).to_csv(csv, index=False)
    sentence = refused("run", "churn")
    assert "sha256" in sentence
    assert "ingestion.checksum=none" in sentence


def test_truncated_gzip(refused: Any, tmp_path: Path, telco: Any) -> None:
    whole = gzip.compress(telco().to_csv(index=False).encode())
    packed = tmp_path / f"{FILE}.gz"
    packed.write_bytes(whole[: len(whole) // 2])
    assert refused().startswith(f"The gzip file {packed} is cut short. Get the file anew")


def test_truncated_parquet(refused: Any, tmp_path: Path, telco: Any) -> None:
    path = tmp_path / "Telco-Customer-Churn.parquet"
    telco().astype({"TotalCharges": float}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert refused().startswith(f"The Parquet file {path} is cut short or damaged: ")


def test_empty_file(refused: Any, csv: Path) -> None:
    csv.touch()
    assert refused().startswith(f"The file {csv} is empty. Get the file anew")


def test_wrong_encoding(refused: Any, csv: Path, telco: Any) -> None:
    text = telco().replace({"Contract": {"One year": "Un añö"}}).to_csv(index=False)
    csv.write_bytes(text.encode("latin-1"))
    sentence = refused()
    assert sentence.startswith(f"The file {csv} is not UTF-8: byte ")
    assert sentence.endswith("is 0xf1. Save it as UTF-8.")


def test_missing_column(refused: Any, csv: Path, telco: Any) -> None:
    telco().rename(columns={"tenure": "Tenure"}).to_csv(csv, index=False)
    assert "'tenure'" in refused()


def test_extra_column(refused: Any, csv: Path, telco: Any) -> None:
    telco().assign(Nickname="x").to_csv(csv, index=False)
    assert "'Nickname'" in refused()


def test_label_missing(refused: Any, csv: Path, telco: Any) -> None:
    telco().drop(columns="Churn").to_csv(csv, index=False)
    assert "'Churn'" in refused()


def test_label_blank_in_all_rows(refused: Any, csv: Path, telco: Any) -> None:
    telco().assign(Churn="").to_csv(csv, index=False)
    assert refused().startswith("The label 'Churn' is blank in all 400 rows; expected a value")


def test_label_all_of_one_class(refused: Any, csv: Path, telco: Any) -> None:
    telco().assign(Churn="No").to_csv(csv, index=False)
    assert refused().startswith("The label 'Churn' is 'No' in every row; expected at least 2")


def test_more_blanks_than_allowed(refused: Any, served: Any, csv: Path, telco: Any) -> None:
    frame = telco()
    frame.loc[:99, "TotalCharges"] = " "
    frame.to_csv(csv, index=False)
    sentence = refused()
    assert "TotalCharges" in sentence
    assert "25" in sentence
    run = served.runs("churn")[0].info.run_id
    files = [file.path for file in served.client.list_artifacts(run, "checks")]
    assert files == ["checks/index.html", "checks/report.json"]
    status = served("status", COLUMNS="500").stdout
    (line,) = (line for line in status.splitlines() if line.startswith("churn "))
    assert "v1" in line
    assert "failed: " in line
    assert sentence.partition(" - ")[0][:40] in line


def test_non_finite_numbers(refused: Any, csv: Path, telco: Any) -> None:
    frame = telco()
    frame.loc[7, "MonthlyCharges"] = float("inf")
    frame.to_csv(csv, index=False)
    assert "MonthlyCharges" in refused()


def test_fewer_rows_than_classes(refused: Any, tmp_path: Path) -> None:
    rows = [",".join(["8"] * 64 + [str(label)]) for label in (0, 1, 2, 0, 1)]
    (tmp_path / "digits.csv").write_text("\n".join(rows) + "\n")
    own = ("--set", f"ingestion.location={tmp_path}", "--set", "ingestion.checksum=none")
    sentence = refused("run", "digits", *own)
    assert sentence.startswith("There are 5 rows; Handwritten digits, 8 x 8 has 10 labels")
    assert "and needs several rows of each" in sentence


def test_a_personal_value_of_a_bad_row_is_shown_nowhere(
    refused: Any, served: Any, csv: Path, telco: Any
) -> None:
    """The identifier itself is what is wrong with two rows; in another it stands beside it."""
    frame = telco()
    frame.loc[[7, 8], "customerID"] = "7777-TWICE"
    frame.loc[9, ["customerID", "Contract", "MonthlyCharges"]] = ["9999-BESIDE", "Lifelong", -5]
    frame.to_csv(csv, index=False)
    sentence = refused()
    for part in ("[unique/customerID]", "Lifelong", "MonthlyCharges"):
        assert part in sentence
    reports = (served.home / "artifacts").rglob("checks/*")
    for text in (sentence, *(path.read_text() for path in (refused.log, *reports))):
        assert "7777-TWICE" not in text
        assert "9999-BESIDE" not in text


def test_loss_that_is_no_number(refused: Any, csv: Path, telco: Any) -> None:
    telco(seed=1).to_csv(csv, index=False)
    huge = (
        "training.learning_rate=10",
        "training.patience=0",
        "model.dropout=0",
        "model.hidden_units=[256,256,256,256,256,256,256,256]",
    )
    changes = [part for change in huge for part in ("--set", change)]
    sentence = refused("run", "churn", *OWN_DATA, *changes)
    assert "loss" in sentence
    assert "training.learning_rate" in sentence


def test_mlflow_address_that_does_not_answer(refused: Any, csv: Path, telco: Any) -> None:
    telco().to_csv(csv, index=False)
    sentence = refused(
        ROUNDHOUSE_TRACKING_URI="http://user:hush@127.0.0.1:9",
        ROUNDHOUSE_TIMEOUT_SECONDS="1",
        in_mlflow=False,
    )
    assert "MLflow server at http://127.0.0.1:9 does not answer" in sentence
    assert "ROUNDHOUSE_TRACKING_URI" in sentence
    assert "hush" not in sentence


def test_unwritable_home(refused: Any) -> None:
    sentence = refused(ROUNDHOUSE_HOME="/dev/null/home", recorded=False)
    assert sentence.startswith("Cannot write to /dev/null/home: Not a directory.")
    assert "ROUNDHOUSE_HOME" in sentence


def test_wrong_setting(refused: Any) -> None:
    sentence = refused(ROUNDHOUSE_TIMEOUT_SECONDS="soon", recorded=False)
    assert "ROUNDHOUSE_TIMEOUT_SECONDS='soon'" in sentence


def can_mount() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return bool(shutil.which("unshare")) and not subprocess.run(command, check=False).returncode


@pytest.mark.skipif(not can_mount(), reason="needs a user namespace to mount a tiny disk")
def test_disk_full(served: Any, csv: Path, telco: Any, tmp_path: Path) -> None:
    """The storage lies on a disk of 64 kB, which is full before the snapshot is written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    telco(rows=5000, seed=3).to_csv(csv, index=False)
    before = served.registry()
    small = f'mount -t tmpfs -o size=64k tmpfs {disk} && exec "$@"'
    done = served(
        "run", "churn", *OWN_DATA,
        wrapper=["unshare", "-rm", "sh", "-c", small, "sh"],
        ROUNDHOUSE_DATA_DIR=str(tmp_path),
        ROUNDHOUSE_STORAGE=str(disk / "storage"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device. Free some space" in done.stderr
    assert served.registry() == before
