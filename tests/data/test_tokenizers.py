"""Tokenizers keep text, and the two implementations of byte-pair encoding agree."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.documents import Corpus
from data.tokenizers import GPT4_PATTERN as PATTERN
from data.tokenizers import _bpe_of, build, learn, train_bpe
from spec.dataset import TOKENIZER, Bpe, Chars, check_tokenizer, load_tokenizer, tokenizers
from spec.errors import InputError


@pytest.fixture(scope="session")
def bpe(stdlib):
    return build("bpe:400", stdlib)


@pytest.fixture(scope="session")
def text(stdlib) -> str:
    return "".join(stdlib.train())


@pytest.mark.parametrize("name", ["bytes", "chars", "bpe:400"])
def test_real_text_survives_the_round_trip_through_the_file(name, stdlib, text, tmp_path):
    _survives(build(name, stdlib), text, tmp_path)


def test_real_text_survives_gpt2(gpt2, text, tmp_path):
    _survives(gpt2, text, tmp_path)


def _survives(made, text, tmp_path):
    (tmp_path / TOKENIZER).write_text(json.dumps(made.full()))
    read = load_tokenizer(tmp_path)
    ids = read.encode(text)
    assert read == made
    assert ids == made.encode(text)
    assert read.decode(ids) == text
    assert 0 <= min(ids) <= max(ids) < read.vocab_size
    lengths = read.byte_lengths()
    assert len(lengths) == read.vocab_size
    assert sum(lengths[number] for number in ids) == len(text.encode())


@given(st.text())
def test_bytes_keep_any_text(text):
    tokenizer = tokenizers["bytes"]()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text(min_size=1))
def test_characters_keep_any_text_over_their_alphabet(text):
    tokenizer = Chars(characters="".join(sorted(set(text))))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert set(tokenizer.encode(text)) == set(range(tokenizer.vocab_size))


@given(text=st.text())
def test_byte_pairs_keep_any_text(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text


@given(text=st.text())
def test_gpt2_keeps_any_text(gpt2, text):
    assert gpt2.decode(gpt2.encode(text)) == text


@given(texts=st.lists(st.text(), max_size=4))
def test_a_batch_is_its_texts_one_by_one(bpe, texts):
    assert bpe.encode_batch(texts) == [bpe.encode(text) for text in texts]


def test_both_implementations_of_byte_pairs_agree_on_real_text(stdlib, text):
    other = learn(stdlib.train(), 1500)
    ours = _bpe_of("bpe:1500", PATTERN, train_bpe(stdlib.train(), 1500), {})
    held_out = "".join(stdlib.val())
    assert ours.encode(text) == other.encode(text).ids
    assert ours.encode(held_out) == other.encode(held_out).ids


@given(text=st.text(alphabet=st.sampled_from("ab 'sé1\n\r\t.,界"), max_size=60))
def test_both_implementations_split_text_alike(stdlib_pair, text):
    ours, other = stdlib_pair
    assert ours.encode(text) == other.encode(text).ids


@pytest.fixture(scope="session")
def stdlib_pair(stdlib):
    other = learn(stdlib.train(), 400)
    return build("bpe:400", stdlib), other


def test_learning_twice_gives_one_vocabulary(stdlib):
    assert train_bpe(stdlib.train(), 600) == train_bpe(stdlib.train(), 600)


def test_learned_entries_are_the_bytes_and_then_merges_of_earlier_ones(stdlib):
    ranks = train_bpe(stdlib.train(), 400)
    assert sorted(ranks.values()) == list(range(400))
    for token, rank in ranks.items():
        halves = ((token[:at], token[at:]) for at in range(1, len(token)))
        assert len(token) == 1 or any(
            ranks.get(a, rank) < rank > ranks.get(b, rank) for a, b in halves
        )


def test_byte_pairs_are_learned_from_the_training_text_only(stdlib):
    training = [d for d in stdlib.documents if not stdlib.holds_out(d)]
    assert any(map(stdlib.holds_out, stdlib.documents))
    assert build("bpe:400", Corpus(training, 1e-9)) == build("bpe:400", stdlib)


def test_the_vocabulary_has_the_size_asked_for(bpe):
    assert bpe.vocab_size == 400


def test_more_entries_than_the_text_yields_are_refused_with_the_most_there_are(document):
    with pytest.raises(InputError, match=r"yields 25\d entries; ask for at most bpe:25\d"):
        build("bpe:5000", Corpus([document("a b")], 0.5))


def test_an_unknown_character_is_named():
    with pytest.raises(InputError, match="character 'ß' is not among the 2"):
        Chars(characters="ab").encode("aß")


def test_numbers_that_stand_for_nothing_are_shown_as_such():
    tokenizer = Bpe(name="x", pattern=".", tokens=("YQ==", "", "Yg=="), special={"<end>": 5})
    assert tokenizer.vocab_size == 6
    assert tokenizer.decode([0, 1, 2, 4, 5]) == "a\ufffdb\ufffd<end>"


def test_half_a_character_is_shown_as_such(bpe):
    assert "\ufffd" in bpe.decode(bpe.encode("界")[:1])


def test_gpt2_has_its_published_size_and_ids(gpt2):
    assert gpt2.vocab_size == 50257
    assert gpt2.encode("hello world") == [31373, 995]
    assert gpt2.decode([50256]) == "<|endoftext|>"


def test_a_vocabulary_that_cannot_be_fetched_says_what_to_do(stdlib, tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for proxy in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # refuses every connection
    with pytest.raises(InputError, match=r"tiktoken:p50k_edit cannot be had .*TIKTOKEN_CACHE_DIR"):
        build("tiktoken:p50k_edit", stdlib)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("byte", "unknown tokenizer 'byte'; did you mean 'bytes'?"),
        ("xyz", "known: bpe:N, bytes, chars, tiktoken:NAME"),
        ("bytes:3", "write it as bytes"),
        ("bpe", "write it as bpe:N"),
        ("bpe:", "at least 256"),
        ("bpe:255", "at least 256"),
        ("bpe:1e3", "at least 256"),
        ("tiktoken:../x", "an encoding's name"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(name, message):
    with pytest.raises(InputError) as error:
        check_tokenizer(name)
    assert message in str(error.value)


def test_an_unknown_encoding_is_refused_with_a_near_one(stdlib):
    with pytest.raises(InputError, match="did you mean 'cl100k_base'"):
        build("tiktoken:cl100k_bas", stdlib)


def test_every_kind_a_config_may_name_can_be_built():
    from data.tokenizers import _BUILDERS
    from spec.dataset import TOKENIZER_KINDS

    assert set(_BUILDERS) == {shape.partition(":")[0] for shape in TOKENIZER_KINDS}
