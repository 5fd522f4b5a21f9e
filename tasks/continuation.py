"""How a language model continues test texts: the first half of each in, figures and samples out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks import texts
from tasks.generation import Generator
from tasks.models.archive import open_network
from tasks.sequence_metrics import generation_metrics

# rows of the artefact, enough to see what the model writes like
SAMPLES = 10
# so that the figures of two models do not hang on chance
TEMPERATURE = 0.0


@dataclass(frozen=True)
class Continued:
    """What came of it.

    Args:
        metrics: BLEU and ROUGE-L of the second halves.
        tables: Per file name a table, its columns and its data.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def continue_texts(
    network: Path, rows: Sequence[str], fitted: Mapping[str, Any], *, personal: bool
) -> Continued:
    """Lets a network write the second half of texts, and compares it with the true one.

    The most probable token is taken each time, up to as many as the true half has, or half of what
    the network reads.

    Args:
        network: A `.keras` file.
        rows: The texts; those of less than two words are left out.
        fitted: What was fitted on the training rows.
        personal: Whether the texts must not be shown.
    """
    words = [split for split in (row.split() for row in rows) if len(split) > 1]
    if not words:
        return Continued()
    beginnings = [" ".join(split[: len(split) // 2]) for split in words]
    endings = [" ".join(split[len(split) // 2 :]) for split in words]
    wanted = [len(tokens) for tokens in texts.tokenize(endings, fitted)]
    # one long text must not take the room that the beginnings of all need
    most = min(max(wanted), fitted["length"] // 2)
    found = Generator(open_network(network), fitted).continuations(
        texts.tokenize(beginnings, fitted), max_new_tokens=most, temperature=TEMPERATURE
    )
    kept = [row[:count] for row, count in zip(found, wanted, strict=True)]
    generated = [texts.decode([row], fitted)[0].strip() for row in kept]
    samples = [list(row) for row in zip(beginnings, generated, endings, strict=True)]
    table = {"columns": ["beginning", "generated", "true"], "data": samples[:SAMPLES]}
    return Continued(
        metrics=generation_metrics(generated, endings),
        tables={} if personal else {"generated.json": table},
    )
