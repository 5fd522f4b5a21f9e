"""The figures that judge problems of sequences: entities in texts, and texts that go on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.outputs import OUTSIDE

TOKEN_CLASSIFICATION: Mapping[str, bool] = {
    "f1": True,
    "precision": True,
    "recall": True,
    "accuracy": True,
}
TEXT_GENERATION: Mapping[str, bool] = {"perplexity": False}


def entity_metrics(
    truth: NDArray[Any], probabilities: NDArray[np.floating], classes: Sequence[str]
) -> dict[str, float]:
    """Precision, recall and F1 of whole entities, by seqeval, and accuracy over words.

    An entity counts as found when its type, its first and its last word are right, in the strict
    scheme IOB2 (an `I-` that continues nothing is no entity), over all texts at once. Tjong Kim
    Sang and De Meulder, Introduction to the CoNLL-2003 Shared Task, 2003, section 2.4
    (https://aclanthology.org/W03-0419/).

    Args:
        truth: Class indices of all words, int [rows, words], -1 beyond the last.
        probabilities: [rows, words, classes]; a word without any counts as `O`.
        classes: Tags in the order of the indices.
    """
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    true = [[classes[tag] for tag in row[row >= 0]] for row in truth]
    found = list(_tags(truth, probabilities, classes))
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, found, average="micro", scheme=IOB2, zero_division=0
    )
    words = sum(map(len, true))
    right = sum(
        tag == guess
        for tags, guesses in zip(true, found, strict=True)
        for tag, guess in zip(tags, guesses, strict=True)
    )
    return {
        "f1": float(f1),
        "precision": float(precision),
        "recall": float(recall),
        "accuracy": right / max(words, 1),
    }


def entity_counts(
    truth: NDArray[Any], probabilities: NDArray[np.floating], classes: Sequence[str]
) -> NDArray[np.int64]:
    """What `entity_metrics` is made of, text by text.

    Args:
        truth: Class indices of all words, int [rows, words], -1 beyond the last.
        probabilities: [rows, words, classes].
        classes: Tags in the order of the indices.

    Returns:
        [rows, 5]: entities that were found rightly, that were found, that there are; words with
        the right tag, and words.
    """
    from seqeval.scheme import IOB2, Entities

    counts = []
    for row, found in zip(truth, _tags(truth, probabilities, classes), strict=True):
        true = [classes[tag] for tag in row[row >= 0]]
        there, guessed = (
            {entity.to_tuple()[1:] for entity in Entities([tags], IOB2).entities[0]}
            for tags in (true, found)
        )
        right = sum(tag == guess for tag, guess in zip(true, found, strict=True))
        counts.append((len(there & guessed), len(guessed), len(there), right, len(true)))
    return np.array(counts, np.int64).reshape(-1, 5)


def perplexity(truth: NDArray[Any], log_probabilities: NDArray[np.floating]) -> dict[str, float]:
    """How many tokens a model wavers between, on average: exp(-sum log p / tokens).

    The tokens that are counted are those of `truth`. So two models that cut the same texts into
    other tokens are compared on one count, by the probability that each gives to the whole texts;
    the figure of a model whose tokens are not those of `truth` is then per token of `truth`.
    Jelinek et al., Perplexity, a measure of the difficulty of speech recognition tasks, 1977
    (https://doi.org/10.1121/1.2016299).

    Args:
        truth: Next tokens, int [rows, length], -1 where none is.
        log_probabilities: Natural, [rows, any length], NaN where none is next.
    """
    total = float(np.nansum(log_probabilities, dtype=np.float64))
    return {"perplexity": perplexity_of(total, int(np.sum(truth >= 0)))}


def perplexity_of(log_probability: float, tokens: int) -> float:
    """The perplexity of texts by their log-probability in all and how many tokens they have."""
    # float64 ends at exp(709)
    with np.errstate(over="ignore"):
        return float(np.exp(-log_probability / max(tokens, 1)))


def generation_metrics(generated: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """How near generated texts come to the true ones: BLEU by sacrebleu, ROUGE-L by rouge-score.

    BLEU (Papineni et al., 2002) is that of the corpus, 0 to 100; ROUGE-L (Lin, 2004) the mean over
    texts of the F1 of the longest common subsequence, 0 to 1.

    Args:
        generated: Texts.
        references: For each, what was to come.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    scorer = RougeScorer(["rougeL"])
    overlaps = [
        scorer.score(reference, text)["rougeL"].fmeasure
        for text, reference in zip(generated, references, strict=True)
    ]
    bleu = BLEU().corpus_score(list(generated), [list(references)])
    return {"bleu": float(bleu.score), "rouge_l": float(np.mean(overlaps))}


def comparable_rows(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Rows of which two language models have read the same text, bool [rows].

    Where their tokens differ, so does where a long text is cut; those that fill the length of
    either are left out then.

    Args:
        ours: Log-probabilities of one, [rows, length], NaN where none is next.
        theirs: Of the other, [rows, another length].
    """
    counts = [np.isfinite(found).sum(axis=1) for found in (ours, theirs)]
    if np.array_equal(*counts):
        return np.ones(len(ours), np.bool_)
    whole: NDArray[np.bool_] = np.logical_and(*(count < count.max() for count in counts))
    return whole


def _tags(
    truth: NDArray[Any], probabilities: NDArray[np.floating], classes: Sequence[str]
) -> Iterator[list[str]]:
    """The most probable tag of each word that there is."""
    for row, found in zip(truth, probabilities, strict=True):
        words = int(np.sum(row >= 0))
        known = found[:words]
        known = known[np.isfinite(known).all(axis=1)]
        tags = [classes[tag] for tag in known.argmax(axis=1)] if len(known) else []
        yield tags + [OUTSIDE] * (words - len(tags))
