"""Makes the tokenizer that a preparation asks for."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from data.documents import Corpus
from spec.dataset import Bpe, Bytes, Chars, Tokenizer, check_tokenizer
from spec.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HuggingFaceTokenizer

# cl100k_base's, in the syntax that Oniguruma (tokenizers) and Rust's regex (tiktoken) read alike
GPT4_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)


def build(name: str, corpus: Corpus) -> Tokenizer:
    """The tokenizer of a name such as ``bpe:1024``, made for a corpus.

    Raises:
        InputError: When the name is unknown, or the tokenizer cannot be had.
    """
    kind, argument = check_tokenizer(name)
    return _BUILDERS[kind](argument, corpus)


def _bytes(argument: str, corpus: Corpus) -> Tokenizer:
    return Bytes()


def _chars(argument: str, corpus: Corpus) -> Tokenizer:
    seen: set[str] = set()
    for document in corpus.documents:
        for chunk in document.chunks():
            seen.update(chunk)
    return Chars(characters="".join(sorted(seen)))


def _tiktoken(argument: str, corpus: Corpus) -> Tokenizer:
    import tiktoken

    known = tiktoken.list_encoding_names()
    if argument not in known:
        raise InputError(f"tiktoken has no encoding {argument!r}{did_you_mean(argument, known)}")
    try:
        encoding = tiktoken.get_encoding(argument)
    except (OSError, ValueError) as error:  # no network; a wrong checksum
        raise InputError(
            f"the vocabulary of tiktoken:{argument} cannot be had ({type(error).__name__}); "
            "connect to the network once, set TIKTOKEN_CACHE_DIR to a folder that has it, "
            "or use bpe:N, which needs none"
        ) from None
    ranks = encoding._mergeable_ranks
    return _bpe_of(f"tiktoken:{argument}", encoding._pat_str, ranks, encoding._special_tokens)


def _bpe(argument: str, corpus: Corpus) -> Tokenizer:
    ranks = train_bpe(corpus.train(), int(argument))
    if len(ranks) < int(argument):
        raise InputError(
            f"bpe:{argument}: the training text yields {len(ranks)} entries; "
            f"ask for at most bpe:{len(ranks)}"
        )
    return _bpe_of(f"bpe:{argument}", GPT4_PATTERN, ranks, {})


def _bpe_of(name: str, pattern: str, ranks: Mapping[bytes, int], special: Mapping[str, int]) -> Bpe:
    tokens = [""] * (1 + max(ranks.values()))
    for token, rank in ranks.items():
        tokens[rank] = base64.b64encode(token).decode()
    return Bpe(name=name, pattern=pattern, tokens=tuple(tokens), special=dict(special))


def train_bpe(texts: Iterator[str], size: int) -> dict[bytes, int]:
    """Learn byte pairs: each entry's bytes and its rank, at most ``size`` of them."""
    spelled = {letter: byte for byte, letter in _byte_letters().items()}
    vocabulary = learn(texts, size).get_vocab()
    return {bytes(spelled[letter] for letter in token): rank for token, rank in vocabulary.items()}


def learn(texts: Iterator[str], size: int) -> HuggingFaceTokenizer:
    """Train byte-level BPE with the ``tokenizers`` package; its ids are in the order of merging."""
    from tokenizers import Regex, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as HuggingFaceTokenizer

    tokenizer = HuggingFaceTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GPT4_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=sorted(_byte_letters().values()),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _byte_letters() -> dict[int, str]:
    """The letter that byte-level BPE writes for each byte (GPT-2's ``bytes_to_unicode``)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {
        byte: chr(0x100 + n) for n, byte in enumerate(hidden)
    }


_BUILDERS: dict[str, Callable[[str, Corpus], Tokenizer]] = {
    "bytes": _bytes,
    "chars": _chars,
    "tiktoken": _tiktoken,
    "bpe": _bpe,
}
