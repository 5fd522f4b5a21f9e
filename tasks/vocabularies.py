"""What the tokens of texts are: a vocabulary fitted on training rows, or one that is given.

What comes out is JSON with the whole tokenizer in it, for `tasks.texts`, and so for the package and
for every digest of it. The same rows give the same vocabulary in every process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.texts import as_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Fitted = dict[str, Any]

PADDING, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
END_OF_TEXT = "<|endoftext|>"
# an apostrophe joins (it's -> its); any other punctuation or control character separates
APOSTROPHES = "['\N{RIGHT SINGLE QUOTATION MARK}]"
SEPARATORS = r"[\s\p{P}\p{C}]+"
# by which files a folder is known to hold a vocabulary, the fullest description first
VOCABULARY_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocabulary.txt",
    "vocab.json",
    "vocabulary.json",
)
VOCABULARY_FOLDERS = ("", "assets/tokenizer")


def fit(
    texts: Iterable[Any],
    *,
    name: str,
    tokens: str = "words",
    vocabulary: Mapping[str, Path] | None = None,
    vocabulary_size: int = 10_000,
    minimum_count: int = 1,
    length: int = 64,
    lowercase: bool = True,
    pre_split: bool = False,
) -> Fitted:
    """Learns a vocabulary from the training rows, or takes a given one.

    Args:
        texts: The texts of the training rows; only looked at where no vocabulary is given.
        name: Their column.
        tokens: `words` (Unicode NFKC, without punctuation), `word_pieces` as BERT has them, or
            `byte_pairs` as GPT-2 has them.
        vocabulary: Files of a given one by name: `tokenizer.json`, `vocab.txt`, or `vocab.json`
            and `merges.txt`; from `tasks.models.pretrained.tokenizer_files`. What they say of
            upper and lower case goes before `lowercase`.
        vocabulary_size: Most tokens of a fitted vocabulary, its special ones included.
        minimum_count: How often a word, or a piece of more than one character, must come to have a
            token of its own in it. The higher, the fewer names and numbers of one person get into
            a package; one that comes as often does, also in a single text.
        length: Tokens of each text.
        lowercase: Whether texts are put in lower case.
        pre_split: Whether a text is words between spaces, each of which is labelled.

    Returns:
        JSON-able: `kind` "text", `name`, `tokens`, `tokenizer` (its own JSON), `length`,
        `vocabulary_size`, `pre_split`, and the numbers of the tokens `padding`, `unknown`, `start`
        and `end`, None where there is none. `byte_pairs` have one token for three of them, and no
        unknown.

    Raises:
        ValueError: The vocabulary is missing or of another kind, or a value is no text.
    """
    if vocabulary is None:
        tokenizer = _TRAINED[tokens](
            as_texts(texts, name), vocabulary_size, minimum_count, lowercase
        )
    else:
        tokenizer = _given(vocabulary, tokens, lowercase)
    if pre_split and tokens == "byte_pairs":
        from tokenizers import pre_tokenizers

        # pieces begin with the space before a word, which words that are split already lack
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    number = tokenizer.token_to_id
    padding, unknown, start, end = _SPECIAL[tokens]
    if number(padding) is None or (end and number(end) is None):
        raise ValueError(
            f"The vocabulary for '{name}' lacks {padding if number(padding) is None else end}; "
            f"expected one for '{tokens}'. Choose the preparation.tokens that it was made for."
        )
    return {
        "kind": "text",
        "name": name,
        "tokens": tokens,
        "tokenizer": tokenizer.to_str(),
        "length": length,
        "vocabulary_size": max(tokenizer.get_vocab().values()) + 1,
        "padding": number(padding),
        "unknown": number(unknown) if unknown else None,
        "start": number(start) if start else None,
        "end": number(end) if end else None,
        "pre_split": pre_split,
    }


def _trained_words(texts: Sequence[str], size: int, count: int, lowercase: bool) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel({PADDING: 0, UNKNOWN: 1}, unk_token=UNKNOWN))
    steps = [normalizers.NFKC(), normalizers.Replace(Regex(APOSTROPHES), "")]
    tokenizer.normalizer = normalizers.Sequence(steps + [normalizers.Lowercase()] * lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(SEPARATORS), "removed")
    trainer = trainers.WordLevelTrainer(
        vocab_size=size,
        min_frequency=count,
        special_tokens=[PADDING, UNKNOWN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _trained_word_pieces(texts: Sequence[str], size: int, count: int, lowercase: bool) -> Tokenizer:
    from tokenizers import trainers

    special = [PADDING, UNKNOWN, START, END, MASK]
    tokenizer = _bert({token: number for number, token in enumerate(special)}, lowercase)
    normalize, split = tokenizer.normalizer.normalize_str, tokenizer.pre_tokenizer.pre_tokenize_str
    characters = sorted({c for text in texts for word, _ in split(normalize(text)) for c in word})
    # in an order of our own: the trainer numbers characters in the order of a hash map, which is
    # another in each process
    first = [*special, *characters, *(f"##{character}" for character in characters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=count,
        special_tokens=first[:size],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # anew, as all of the first ones count as special now
    return _bert(tokenizer.get_vocab(), lowercase)


def _trained_byte_pairs(texts: Sequence[str], size: int, count: int, lowercase: bool) -> Tokenizer:
    from tokenizers import models, pre_tokenizers, trainers

    tokenizer = _gpt(models.BPE(), lowercase)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=count,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _bert(vocabulary: dict[str, int], lowercase: bool) -> Tokenizer:
    """The tokenizer of BERT, https://arxiv.org/abs/1810.04805, for a vocabulary of pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.add_special_tokens([t for t in (PADDING, UNKNOWN, START, END, MASK)
                                  if t in vocabulary])  # fmt: skip
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _gpt(model: Any, lowercase: bool) -> Tokenizer:
    """The tokenizer of GPT-2, for merges of bytes; it has a token for whatever comes."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


_TRAINED = {
    "words": _trained_words,
    "word_pieces": _trained_word_pieces,
    "byte_pairs": _trained_byte_pairs,
}
# padding, unknown, start and end
_SPECIAL = {
    "words": (PADDING, UNKNOWN, None, None),
    "word_pieces": (PADDING, UNKNOWN, START, END),
    "byte_pairs": (END_OF_TEXT, None, END_OF_TEXT, END_OF_TEXT),
}


def _given(files: Mapping[str, Path], tokens: str, lowercase: bool) -> Tokenizer:
    """The tokenizer of a vocabulary's files.

    Raises:
        ValueError: They cannot be read, or are of another kind.
    """
    found = ", ".join(str(path) for path in files.values())
    try:
        tokenizer = _read(files, tokens, _is_lowercase(files, lowercase))
    # tokenizers raises plain exceptions for whatever is wrong with a file
    except Exception as error:
        raise ValueError(
            f"The vocabulary in {found} cannot be read as '{tokens}' ({error}). Choose the "
            "preparation.tokens that it was made for, or get the files anew."
        ) from error
    kind = {"words": "WordLevel", "word_pieces": "WordPiece", "byte_pairs": "BPE"}[tokens]
    if type(tokenizer.model).__name__ != kind:
        raise ValueError(
            f"The vocabulary in {found} is of the kind {type(tokenizer.model).__name__}; for "
            f"'{tokens}' expected {kind}. Choose another preparation.tokens."
        )
    return tokenizer


def _read(files: Mapping[str, Path], tokens: str, lowercase: bool) -> Tokenizer:
    from tokenizers import Tokenizer, models

    if "tokenizer.json" in files:
        tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    needed = {"word_pieces": ("vocab.txt",), "byte_pairs": ("vocab.json", "merges.txt")}
    if missing := [name for name in needed.get(tokens, ("tokenizer.json",)) if name not in files]:
        raise ValueError(f"{' and '.join(missing)} of it is missing")
    if tokens == "word_pieces":
        return _bert(models.WordPiece.read_file(str(files["vocab.txt"])), lowercase)
    pairs = models.BPE.from_file(str(files["vocab.json"]), str(files["merges.txt"]))
    tokenizer = _gpt(pairs, lowercase)
    tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


def _is_lowercase(files: Mapping[str, Path], otherwise: bool) -> bool:
    """Whether the network that a vocabulary belongs to was given texts in lower case."""
    if "tokenizer_config.json" not in files:
        # GPT-2 was given them as they are, and has merges for capitals
        return otherwise and "vocab.json" not in files
    told = json.loads(files["tokenizer_config.json"].read_text())
    # at the top in the layout of Hugging Face, and below `config` in that of KerasHub
    return bool(told.get("do_lower_case", told.get("config", {}).get("lowercase", otherwise)))
