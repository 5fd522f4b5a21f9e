"""What a network is given of each row: arrays, and what was fitted on the rows that train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks import features, texts, vocabularies
from tasks.config import PreparationConfig
from tasks.errors import ConfigError, DataError, RoundhouseError
from tasks.handoffs import Column, Snapshot
from tasks.snapshots import images
from tasks.splitting import TRAIN

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Inputs:
    """The inputs of all rows.

    Args:
        values: Images uint8 [rows, height, width, channels], tables float32 [rows, width], or
            texts int32 [rows, length].
        fitted: What `tasks.features`, or `tasks.texts`, makes the same of raw rows by.
        words: Of a text that is cut into words first, the number of the word that begins at each
            token, int32 [rows, length], -1 where none does.
        warnings: Sentences on what was noticed.
    """

    values: np.ndarray
    fitted: features.Fitted
    words: np.ndarray | None = None
    warnings: tuple[str, ...] = ()


def fit_inputs(
    table: pyarrow.Table, snapshot: Snapshot, sides: np.ndarray, config: PreparationConfig
) -> Inputs:
    """The network's inputs for all rows, fitted on those that train.

    Raises:
        DataError: A feature cannot be an input, or its values cannot.
        ConfigError: A given vocabulary is missing, or not of the configured tokens.
    """
    columns = snapshot.features
    kinds = {column.kind for column in columns}
    try:
        if kinds == {"image"} and len(columns) == 1:
            return _image_inputs(table, columns[0])
        if kinds == {"text"} and len(columns) == 1:
            return _text_inputs(table, snapshot, sides, config)
        if kinds and kinds <= {"numeric", "category"}:
            return _table_inputs(table, columns, sides, config)
    except RoundhouseError:
        raise
    except ValueError as error:
        raise DataError(f"The rows cannot become inputs of a network. {error}") from error
    raise DataError(
        f"The features of {snapshot.dataset} are of kind {', '.join(sorted(kinds)) or 'none'}; "
        "expected one image, one text, or numeric and category columns. Give the others the role "
        f"'ignored' in tasks/datasets/{snapshot.dataset}.py."
    )


def _table_inputs(
    table: pyarrow.Table, columns: tuple[Column, ...], sides: np.ndarray, config: PreparationConfig
) -> Inputs:
    frame = table.select([column.name for column in columns]).to_pandas()
    fitted = features.fit(
        frame[sides == TRAIN],
        [column.name for column in columns if column.kind == "numeric"],
        [column.name for column in columns if column.kind == "category"],
        scaling=config.scaling,
        imputation=config.imputation,
        minimum_category_rows=config.minimum_category_rows,
        categories=config.categories,
    )
    return Inputs(features.transform(frame, fitted), fitted)


def _image_inputs(table: pyarrow.Table, column: Column) -> Inputs:
    fitted = features.fit_images(column.name, column.shape or (), column.maximum or 255)
    return Inputs(features.transform_images(images(table, column), fitted), fitted)


def _text_inputs(
    table: pyarrow.Table, snapshot: Snapshot, sides: np.ndarray, config: PreparationConfig
) -> Inputs:
    (column,) = snapshot.features
    rows = np.array(table[column.name].to_pylist(), dtype=object)
    try:
        fitted = vocabularies.fit(
            rows[sides == TRAIN],
            name=column.name,
            tokens=config.tokens,
            vocabulary=_vocabulary_files(config),
            vocabulary_size=config.vocabulary_size,
            # the vocabulary ships in every package, where rare words would tell who wrote
            minimum_count=config.minimum_category_rows if column.personal else 1,
            length=config.text_length,
            lowercase=config.lowercase,
            pre_split=snapshot.problem == "token_classification",
        )
    except ValueError as error:
        # the texts are typed already, so it is the vocabulary that does not suit
        raise ConfigError(str(error)) from error
    tokens, words = texts.encode(rows, fitted)
    return Inputs(tokens, fitted, words, _text_warnings(rows, fitted))


def _vocabulary_files(config: PreparationConfig) -> dict[str, Path] | None:
    if config.vocabulary is None:
        return None
    from tasks.models import pretrained

    return pretrained.tokenizer_files(pretrained.place_of(config.vocabulary, pretrained.VOCABULARY))


def _text_warnings(rows: np.ndarray, fitted: features.Fitted) -> tuple[str, ...]:
    lengths = np.array([len(tokens) for tokens in texts.tokenize(rows, fitted)])
    cut, empty = int(np.sum(lengths > texts.room(fitted))), int(np.sum(lengths == 0))
    told = []
    if cut:
        told.append(
            f"{cut:,} of {len(rows):,} texts ({cut / len(rows):.1%}) have more than "
            f"{fitted['length']} tokens and were cut there; see preparation.text_length."
        )
    if empty:
        told.append(f"{empty:,} of {len(rows):,} texts are empty, or hold nothing but separators.")
    return tuple(told)
