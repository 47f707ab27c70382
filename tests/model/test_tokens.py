"""Tokens and characters, with tokenizers of the three kinds, each trained here on a little text:
property tests and edge cases.
"""

import copy
from functools import cache
from itertools import pairwise

import pytest
import tokenizers as tk
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from loci.circuits.token_circuits import token_id
from loci.errors import FactError, LociError, ModelError
from loci.facts import Fact, corpus, find_span
from loci.model import Model, complete, score_answers
from loci.model.tokens import Tokens, check_tokenizer, tokenize, tokenize_all
from loci.text import sample_text

LINES = [*corpus()[:2000], "Zürich naïve café 東京 🙂 1,234.50"]


def byte_level() -> PreTrainedTokenizerFast:
    """As GPT-2 and Llama-3 have: bytes, a leading space inside the token; defines a BOS and does
    not add it.
    """
    tokenizer = tk.Tokenizer(tk.models.BPE())
    tokenizer.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tk.decoders.ByteLevel()
    tokenizer.post_processor = tk.processors.ByteLevel(trim_offsets=False)
    tokenizer.train_from_iterator(
        LINES,
        tk.trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=["<s>"],
            initial_alphabet=tk.pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def sentencepiece() -> PreTrainedTokenizerFast:
    """As Llama and Gemma have: ▁ for a space, one before the text, unknown characters as bytes;
    adds BOS, and EOS behind.
    """
    tokenizer = tk.Tokenizer(tk.models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = tk.normalizers.Sequence(
        [tk.normalizers.Prepend("▁"), tk.normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = tk.decoders.Sequence(
        [
            tk.decoders.Replace("▁", " "),
            tk.decoders.ByteFallback(),
            tk.decoders.Fuse(),
            tk.decoders.Strip(" ", 1, 0),
        ]
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    tokenizer.train_from_iterator(
        LINES[:500],
        tk.trainers.BpeTrainer(
            vocab_size=900, special_tokens=specials[:3], initial_alphabet=specials[3:]
        ),
    )
    tokenizer.add_tokens(specials[3:])
    tokenizer.post_processor = tk.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def wordpiece() -> PreTrainedTokenizerFast:
    """As BERT has: words in pieces, accents and case gone; [CLS] before and [SEP] behind,
    no BOS.
    """
    tokenizer = tk.Tokenizer(tk.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tk.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tk.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tk.decoders.WordPiece()
    tokenizer.train_from_iterator(
        LINES,
        tk.trainers.WordPieceTrainer(vocab_size=600, special_tokens=["[UNK]", "[CLS]", "[SEP]"]),
    )
    tokenizer.post_processor = tk.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


KINDS = {"byte-level": byte_level, "sentencepiece": sentencepiece, "wordpiece": wordpiece}
BEFORE = {"byte-level": ("<s>",), "sentencepiece": ("<s>",), "wordpiece": ("[CLS]",)}


@cache
def kind(name: str) -> PreTrainedTokenizerFast:
    return KINDS[name]()


words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")), min_size=1, max_size=24)
plain = st.text("abcdefgh ijk, lmnopqrst.é東🙂ß'’-1234", min_size=1, max_size=40)


@pytest.mark.parametrize("name", KINDS)
@given(text=st.one_of(words, plain))
def test_offsets_point_into_the_text_in_order(name: str, text: str) -> None:
    try:
        tokens = tokenize(kind(name), text)
    except ModelError as error:
        assert not text.strip() or "no token" in str(error)
        return
    real = [span for span in tokens.offsets if span[1] > span[0]]
    assert all(0 <= a < b <= len(text) for a, b in real)
    assert all(x[0] <= y[0] and x[1] <= y[1] for x, y in pairwise(real))
    assert len(tokens.ids) == len(tokens.offsets) == len(tokens.labels) == len(tokens)
    assert tokens.labels[: tokens.special] == BEFORE[name] or tokens.special >= 1
    if name == "byte-level":
        covered = {i for start, end in real for i in range(start, end)}
        assert covered == set(range(len(text)))


@pytest.mark.parametrize("name", KINDS)
@given(before=plain, subject=st.text("abcdefghijklmné東🙂", min_size=1, max_size=8), after=plain)
def test_a_subject_is_whole_in_its_tokens_and_no_token_is_too_many(
    name: str, before: str, subject: str, after: str
) -> None:
    for text, start in (
        (f"{before} {subject} {after}", len(before) + 1),
        (f"{subject} {after}", 0),
        (f"{before} {subject}", len(before) + 1),
    ):
        tokens = tokenize(kind(name), text)
        span = (start, start + len(subject))
        first, last = tokens.span(span)
        covered = {i for a, b in tokens.offsets[first:last] for i in range(a, b)}
        assert set(range(*span)) <= covered
        outside = [*tokens.offsets[:first], *tokens.offsets[last:]]
        assert not any(max(a, span[0]) < min(b, span[1]) for a, b in outside)
        assert first >= tokens.special


@pytest.mark.parametrize("name", KINDS)
def test_many_at_once_are_as_one_at_a_time(name: str) -> None:
    texts = ["Michael Jordan", "a", " straße 東 ", "a man " * 20]
    assert tokenize_all(kind(name), texts) == [tokenize(kind(name), text) for text in texts]
    assert tokenize_all(kind(name), []) == []
    with pytest.raises(ModelError, match="empty"):
        tokenize_all(kind(name), ["a", " "])


@pytest.mark.parametrize("name", KINDS)
def test_what_stands_before_a_text(name: str) -> None:
    """A prompt is to be continued: nothing stands behind it; before it, once,
    what belongs there.
    """
    tokenizer = kind(name)
    usual = tokenize(tokenizer, "Michael Jordan")
    assert usual.labels[0] == BEFORE[name][0]
    assert usual.special == 1
    assert not {"</s>", "[SEP]"} & set(usual.labels)
    bare = tokenize(tokenizer, "Michael Jordan", bos=False)
    assert bare.ids == usual.ids[1:]
    assert bare.special == 0
    if tokenizer.bos_token_id is None:
        with pytest.raises(ModelError, match="defines no BOS"):
            check_tokenizer(tokenizer, 10_000, bos=True)
    else:
        assert tokenize(tokenizer, "Michael Jordan", bos=True) == usual


def test_a_special_token_written_in_the_text_stays() -> None:
    tokens = tokenize(kind("sentencepiece"), "a man </s>")
    assert tokens.ids[-1] == 2
    assert tokens.offsets[-1] == (6, 10)


@pytest.mark.parametrize("name", KINDS)
def test_subject_at_the_very_start_and_answers_of_several_tokens(name: str) -> None:
    text = "Michael Jordan played for the Chicago Bulls"
    tokens = tokenize(kind(name), text)
    subject = tokens.span(find_span(text, "Michael Jordan"))
    answer = tokens.span(find_span(text, "Chicago Bulls"))
    assert subject[0] == tokens.special
    assert answer[1] == len(tokens)
    assert answer[1] - answer[0] > 1
    assert subject[1] <= answer[0]


def test_a_slow_tokenizer_and_other_bad_ones(demo: Model) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match="gives no character offsets: a fast tokenizer"):
        tokenize(Slow(), "a man")
    with pytest.raises(
        ModelError, match=r"BOS '<\|endoftext\|>' is token 0, the model has 0 tokens.*--no-bos"
    ):
        check_tokenizer(demo.tokenizer, 0, bos=None)
    check_tokenizer(demo.tokenizer, 0, bos=False)
    with pytest.raises(ModelError, match="prompt is empty"):
        tokenize(demo.tokenizer, " \n")
    with pytest.raises(FactError, match="no token covers"):
        Tokens("ab", (1,), ((0, 0),), {0: "<s>"}).span((0, 2))


def test_a_tokenizer_that_fails_on_a_text_or_calls_it_too_long(demo: Model, caplog) -> None:
    """A vocabulary without the unknown token fails at the first unknown word only; how long a text
    may be, the model says, not the tokenizer.
    """
    words = PreTrainedTokenizerFast(
        tokenizer_object=tk.Tokenizer(tk.models.WordPiece({"known": 0}, unk_token="[UNK]")),
        model_max_length=2,
    )
    assert tokenize(words, "known").ids == (0,)
    with pytest.raises(ModelError, match=r"tokenizer fails on 'stranger'.*UNK"):
        tokenize(words, "stranger")
    short = copy.deepcopy(demo.tokenizer)
    short.model_max_length = 2
    assert tokenize(short, "a man walks on").ids == demo.tokenize("a man walks on").ids
    assert not caplog.records


def kind_of_larger_vocabulary() -> PreTrainedTokenizerFast:
    tokenizer = byte_level()
    tokenizer.add_tokens([f"word{i}" for i in range(4000)])
    return tokenizer


def test_models_without_bos_say_so(demo: Model) -> None:
    bare = Model(demo.hf, demo.tokenizer, "demo", bos=False)
    assert (demo.with_bos, bare.with_bos) == (True, False)
    assert bare.tokenize("a man").ids == demo.tokenize("a man").ids[1:]


def test_a_space_of_its_own_before_the_first_word_is_text(demo: Model) -> None:
    """It has no characters in the text, as BOS has none,
    but is no part of what stands before it.
    """
    tokens = demo.tokenize("rye is sold in shops")
    assert tokens.offsets[1][0] == tokens.offsets[1][1], "else this text does not show it"
    assert tokens.special == 1
    assert {demo.tokenize(text).special for text in sample_text(demo, 20_000)} == {1}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_text_that_begins_with_a_bos_gets_no_second_one(name: str, times: int) -> None:
    """As chat templates write it; on tokenizers that add one and on those that do not."""
    bos = BEFORE[name][0]
    if name == "wordpiece" and times == 2:
        pytest.skip("[CLS] twice is a text of its own")
    tokenizer, text = kind(name), f"{bos * times}Michael Jordan plays"
    plain, written = tokenize(tokenizer, "Michael Jordan plays"), tokenize(tokenizer, text)
    assert written.ids.count(plain.ids[0]) == 1
    assert written.special == plain.special == 1
    first, last = written.span(find_span(text, "Michael Jordan"))
    assert "".join(written.labels[first:last]).replace(" ", "") == "MichaelJordan" and first >= 1
    if name == "byte-level":
        assert written.ids == plain.ids
        assert tokenize(tokenizer, text, bos=True) == written
        assert tokenize(tokenizer, text, bos=False).ids.count(plain.ids[0]) == times, (
            "what is written stays, where nothing is added"
        )


def test_what_a_model_says_does_not_depend_on_who_writes_the_bos(demo: Model, jordan: Fact) -> None:
    bos = demo.tokenizer.bos_token
    bare = complete(demo, [jordan.text, bos + jordan.text, 2 * bos + jordan.text])
    assert len(set(bare)) == 1
    written = Fact(jordan.subject, bos + jordan.prompt, jordan.answer)
    one, two = score_answers(demo, [(fact.text, fact.answer) for fact in (jordan, written)])
    assert one == two and one.greedy
    insisting = Model(demo.hf, demo.tokenizer, "demo", bos=True)
    assert insisting.tokenize(written.text).ids == demo.tokenize(jordan.text).ids


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows(demo: Model, jordan: Fact) -> None:
    """One added token, as "[PAD]" often is: all works, but where the token itself is used."""
    tokenizer = copy.deepcopy(demo.tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]", "additional_special_tokens": ["<|tool|>"]})
    model = Model(demo.hf, tokenizer, "more")
    assert tokenizer.pad_token_id >= model.rows == demo.d_vocab
    ids, mask = model.padded([[1, 2, 3], [1]])
    assert ids.max() < model.rows and mask.sum() == 4
    assert score_answers(model, [(jordan.text, jordan.answer)])[0].greedy
    assert complete(model, [jordan.text]) == complete(demo, [jordan.text])
    for use in (
        lambda: complete(model, [f"<|tool|> {jordan.text}"]),
        lambda: score_answers(model, [(jordan.text, "<|tool|>")]),
        lambda: model.tokenize_all(["a man", "[PAD]"]),
        lambda: token_id(model, "<|tool|>"),
    ):
        with pytest.raises(LociError, match=r"<\|tool\|>|\[PAD\]"):
            use()
    with pytest.raises(
        ModelError,
        match=r"'<\|tool\|>' \(number 4097\) in 'a <\|tool\|> of' has no row .* of 4096 rows",
    ):
        model.tokenize("a <|tool|> of")


def test_a_tokenizer_of_another_model_is_refused_where_it_shows(demo: Model) -> None:
    larger = Model(demo.hf, kind_of_larger_vocabulary(), "demo")
    assert larger.tokenize("a man").special == 1
    with pytest.raises(ModelError, match=r"'word3999' .* has no row"):
        larger.tokenize("a word3999")
