"""Small made data in the shape of the published: what each pipeline can learn from in seconds.

The real files cannot be had everywhere a test runs. Nothing here is random beyond a fixed seed.
"""

import gzip
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

GOOD = ("a warm and funny film", "simply wonderful", "a moving story , well told", "brilliant")
BAD = ("a dull and tired film", "simply awful", "a story that goes nowhere", "tedious")
PLACES = ("in the end", "from the start", "for two hours", "despite its cast", "once again")
NAMES = ("Ada Lovelace", "Alan Turing", "Grace Hopper", "Emmy Noether")
TOWNS = ("Paris", "New York", "Lisbon", "Rio")
HOURS = 24 * 7 * 8


def write_all(folder: Path, telco: Callable[..., pd.DataFrame]) -> None:
    """Every dataset that is not bundled, each in the folder of its name.

    Args:
        folder: The data folder to fill.
        telco: Makes a frame of customers.
    """
    write_mnist(folder / "mnist", train=700, test=200)
    write_images(folder / "images")
    (folder / "telco-churn").mkdir()
    telco(700).to_csv(folder / "telco-churn" / "Telco-Customer-Churn.csv", index=False)
    write_reviews(folder / "rt-polarity")
    write_messages(folder / "sms-spam")
    write_entities(folder / "wnut17")
    write_rentals(folder / "bike-sharing")
    write_census(folder / "adult-census")


def write_mnist(folder: Path, **rows: int) -> None:
    """The four packed files, with scikit-learn's digits in the middle of 28 x 28 pixels.

    Args:
        folder: Made new.
        rows: How many of each part, `train` and `test`.
    """
    from sklearn.datasets import load_digits

    digits, first = load_digits(), 0
    folder.mkdir(parents=True)
    for part, count in rows.items():
        chosen = slice(first, first + count)
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 6:22, 6:22] = digits.images[chosen].repeat(2, 1).repeat(2, 2) * 15
        prefix = "train" if part == "train" else "t10k"
        for kind, array in (("images", images), ("labels", digits.target[chosen])):
            head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            content = gzip.compress(head + array.astype(np.uint8).tobytes())
            (folder / f"{prefix}-{kind}-idx{array.ndim}-ubyte.gz").write_bytes(content)
        first += count


def write_images(folder: Path, per_class: int = 90) -> None:
    """Zeros and ones as PNG files, a sub-folder of each."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label, name in enumerate(("nought", "one")):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == label][:per_class]):
            pixels = Image.fromarray((image * 15).astype(np.uint8)).resize((32, 32))
            pixels.convert("RGB").save(folder / name / f"{number:03d}.png")


def write_reviews(folder: Path, per_class: int = 220) -> None:
    """Sentences in praise and not; a line each."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for name, words in (("rt-polarity.pos", GOOD), ("rt-polarity.neg", BAD)):
        lines = [
            f"{random.choice(PLACES)} {random.choice(words)} {random.choice(PLACES)} {number}"
            for number in range(per_class)
        ]
        (folder / name).write_text("\n".join(lines) + "\n")


def write_messages(folder: Path, rows: int = 400) -> None:
    """Text messages, a quarter of them spam; a label, a tab and a text in each line."""
    random = np.random.default_rng(1)
    folder.mkdir()
    lines = []
    for number in range(rows):
        if number % 4:
            lines.append(f"ham\tsee you {random.choice(PLACES)} at {number} then")
        else:
            lines.append(f"spam\twin a free prize now {random.choice(PLACES)} call {number}")
    (folder / "SMSSpamCollection").write_text("\n".join(lines) + "\n")


def write_entities(folder: Path) -> None:
    """Sentences of words and tags; a person always comes before `met`, a place after `in`."""
    random = np.random.default_rng(2)
    folder.mkdir()
    rows = {
        "wnut17train.conll": 300,
        "emerging.dev.conll": 60,
        "emerging.test.annotated": 120,
    }
    for name, count in rows.items():
        sentences = ["\n".join(_tagged(random, number)) for number in range(count)]
        (folder / name).write_text("\n\n".join(sentences) + "\n")


def _tagged(random: np.random.Generator, number: int) -> Iterator[str]:
    for kind, text in (
        ("person", random.choice(NAMES)), ("", "met me in"),
        ("location", random.choice(TOWNS)), ("", f"with {number} friends"),
    ):  # fmt: skip
        for place, word in enumerate(text.split()):
            tag = f"{'I' if place else 'B'}-{kind}"
            yield f"{word}\t{tag if kind else 'O'}"


def write_rentals(folder: Path) -> None:
    """Eight weeks by the hour; more rentals by day, on working days and when it is warm."""
    random = np.random.default_rng(3)
    folder.mkdir()
    time = pd.date_range("2011-01-01", periods=HOURS, freq="h")
    hour, weekday = time.hour.to_numpy(), (time.dayofweek.to_numpy() + 1) % 7
    working = ((weekday > 0) & (weekday < 6)).astype(int)
    warmth = 0.3 + 0.2 * np.sin(np.arange(HOURS) / 60) + random.normal(0, 0.02, HOURS)
    mean = 20 + 120 * np.sin(np.pi * hour / 24) ** 2 * (0.6 + 0.4 * working) * (0.5 + warmth)
    casual = random.poisson(mean * 0.2)
    registered = random.poisson(mean * 0.8)
    pd.DataFrame(
        {
            "instant": np.arange(1, HOURS + 1), "dteday": time.strftime("%Y-%m-%d"), "season": 1,
            "yr": 0, "mnth": time.month, "hr": hour, "holiday": 0, "weekday": weekday,
            "workingday": working, "weathersit": 1 + (np.arange(HOURS) % 24 == 5),
            "temp": warmth.round(2), "atemp": warmth.round(2), "hum": 0.5, "windspeed": 0.2,
            "casual": casual, "registered": registered, "cnt": casual + registered,
        }
    ).to_csv(folder / "hour.csv", index=False)  # fmt: skip


def write_census(folder: Path, rows: int = 900) -> None:
    """People who earn more the longer they learnt and work; a comma and a space, `?` for blanks."""
    from data_checks.suites.adult_census import CATEGORIES

    random = np.random.default_rng(4)
    folder.mkdir()
    people = {name: random.choice(values, rows) for name, values in CATEGORIES.items()}
    age, years, hours = (random.integers(*ends, rows) for ends in ((17, 90), (1, 17), (10, 80)))
    earns = years * 3 + hours / 2 + random.normal(0, 6, rows) > 55
    people["workclass"][:40] = "?"
    columns = [
        age, people["workclass"], random.integers(10_000, 500_000, rows), people["education"],
        years, people["marital-status"], people["occupation"], people["relationship"],
        people["race"], people["sex"], np.zeros(rows, int), np.zeros(rows, int), hours,
        np.full(rows, "United-States"), np.where(earns, ">50K", "<=50K"),
    ]  # fmt: skip
    lines = [", ".join(map(str, row)) for row in zip(*columns, strict=True)]
    (folder / "adult.data").write_text("\n".join(lines) + "\n")
