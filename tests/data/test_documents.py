"""Chunks lose nothing, and no text is in both splits."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.documents import CHUNK, Corpus, cut
from data.tokenizers import build
from spec.errors import InputError

TEXTS = st.text(alphabet=st.sampled_from("ab \n\r\t界"), max_size=200)


@given(text=TEXTS, limit=st.integers(1, 20))
def test_chunks_are_the_text_in_pieces_of_bounded_size(text, limit):
    pieces = list(cut(io.StringIO(text, newline=""), limit))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= 2 * limit for piece in pieces)


def test_cutting_into_chunks_does_not_change_learned_tokens(stdlib):
    _same_tokens(stdlib, build("bpe:400", stdlib))


def test_cutting_into_chunks_does_not_change_gpt2_tokens(stdlib, gpt2):
    _same_tokens(stdlib, gpt2)


def _same_tokens(corpus, tokenizer):
    for document in corpus.documents:
        whole = tokenizer.encode("".join(document.chunks()))
        pieces = list(document.chunks(limit=1000))
        assert [number for piece in pieces for number in tokenizer.encode(piece)] == whole


@given(text=st.text(min_size=2, max_size=300), fraction=st.floats(0.01, 0.99))
def test_one_file_is_cut_by_characters(document, text, fraction):
    corpus = Corpus([document(text)], fraction)
    at = int(len(text) * (1 - fraction))
    assert "".join(corpus.train()) == text[:at]
    assert "".join(corpus.val()) == text[at:]


def test_a_file_larger_than_a_chunk_is_cut_as_a_small_one(document):
    text = "".join(f"line {number}\n" for number in range(CHUNK // 4))
    corpus = Corpus([document(text)], 0.1)
    assert len(text) > 2 * CHUNK
    assert "".join(corpus.train()) == text[: int(len(text) * 0.9)]
    assert "".join(corpus.val()) == text[int(len(text) * 0.9) :]


def _names(corpus: Corpus) -> tuple[set[str], set[str]]:
    val = {document.name for document in corpus.documents if corpus.holds_out(document)}
    return {document.name for document in corpus.documents} - val, val


def test_a_file_is_in_one_split_only_and_so_are_its_copies(document):
    texts = [f"text {number}\n" for number in range(200)]
    corpus = Corpus([document(t, f"{c}/{t}") for c in "ab" for t in texts], 0.1)
    train, val = "".join(corpus.train()), "".join(corpus.val())
    assert all((train.count(text), val.count(text)) in {(2, 0), (0, 2)} for text in texts)
    assert 0.05 < len(val) / len(train + val) < 0.15


def test_a_file_that_comes_or_goes_moves_no_other(document):
    documents = [document(f"text {number}", f"{number}") for number in range(100)]
    train, val = _names(Corpus(documents, 0.1))
    fewer = _names(Corpus(documents[:50], 0.1))
    assert val
    assert fewer[0] <= train
    assert fewer[1] <= val


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_an_empty_corpus_is_refused(document, texts):
    with pytest.raises(InputError, match=r"empty corpus: \d files"):
        Corpus([document(text) for text in texts], 0.1)


def test_what_is_no_text_is_named(document):
    wrong = document("caf\u00e9", "menu.txt", encoding="latin-1")
    with pytest.raises(InputError, match=r"menu.txt: not utf-8 text"):
        list(type(wrong)(wrong.name, wrong.digest, wrong.size, wrong.open).chunks())


def test_line_ends_stay_as_they_are(document):
    assert "".join(document("a\r\nb\rc\n").chunks()) == "a\r\nb\rc\n"


def test_the_fingerprint_sees_names_contents_split_and_tokenizer(document):
    one, other = document("one", "1"), document("other", "2")
    prints = [
        Corpus([one, other], 0.1).fingerprint("bytes"),
        Corpus([one, other], 0.1).fingerprint("chars"),
        Corpus([one, other], 0.2).fingerprint("bytes"),
        Corpus([one], 0.1).fingerprint("bytes"),
        Corpus([document("one", "renamed"), other], 0.1).fingerprint("bytes"),
        Corpus([document("edited", "1"), other], 0.1).fingerprint("bytes"),
    ]
    assert len(set(prints)) == len(prints)
    assert prints[0] == Corpus([document("one", "1"), other], 0.1).fingerprint("bytes")
