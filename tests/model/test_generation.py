"""Greedy is the argmax of the logits, whatever a checkpoint's generation settings say; texts end
where the checkpoint ends them.
"""

import copy
import json

import pytest
import torch
import transformers as t

from loci.editing.edit import edit
from loci.facts import Fact
from loci.locating import locate, trace
from loci.model import Model, answer_of, complete, generation, open_model
from loci.model.generation import control_tokens, end_tokens, generate
from tests.conftest import tiny_gpt2
from tests.model.families import SUPPORTED, make

PROMPTS = ["Michael Jordan plays the sport of", "Osaka is a city in the country of", "Paris is"]
LEAKING = {
    "repetition_penalty": 5.0,
    "stop_strings": ["e", "a", "o"],
    "return_dict_in_generate": True,
    "output_scores": True,
    "forced_bos_token_id": 7,
    "forced_eos_token_id": 9,
    "bad_words_ids": [[i] for i in range(300, 1000)],
    "suppress_tokens": list(range(1000, 1500)),
    "begin_suppress_tokens": list(range(1500, 3000)),
    "min_length": 30,
    "min_new_tokens": 30,
    "max_length": 3,
    "no_repeat_ngram_size": 1,
    "num_beams": 4,
    "num_return_sequences": 2,
    "do_sample": True,
    "temperature": 5.0,
    "top_k": 3,
    "top_p": 0.1,
    "encoder_repetition_penalty": 3.0,
    "exponential_decay_length_penalty": (1, 50.0),
    "sequence_bias": [[[5], 100.0]],
    "guidance_scale": 3.0,
    "renormalize_logits": True,
    "use_cache": False,
    "max_time": 1e-9,
}


def by_argmax(model: Model, prompt: str, tokens: int) -> str:
    """The plain loop: the whole text each time, the likeliest token, until one ends it."""
    ids = list(model.tokenize(prompt).ids)
    start, ends = len(ids), end_tokens(model)
    for _ in range(tokens):
        following = int(
            model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()
        )
        if following in ends:
            break
        ids.append(following)
    return model.decode(ids[start:])


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_family_goes_on_with_the_argmax(name: str, demo: Model) -> None:
    model = make(name, demo)
    with torch.no_grad():
        assert complete(model, PROMPTS, 8) == [by_argmax(model, prompt, 8) for prompt in PROMPTS]


@pytest.mark.parametrize("setting", LEAKING)
def test_no_generation_setting_of_a_checkpoint_leaks_into_a_greedy_answer(
    setting: str, tiny: Model
) -> None:
    expected = complete(tiny, PROMPTS)
    setattr(tiny.hf.generation_config, setting, LEAKING[setting])
    before = tiny.hf.generation_config.to_dict()
    assert complete(tiny, PROMPTS) == expected == [by_argmax(tiny, prompt, 8) for prompt in PROMPTS]
    assert tiny.hf.generation_config.to_dict() == before, "the user's settings are left alone"


def test_all_of_them_at_once_and_samples(demo: Model, tiny: Model) -> None:
    ids = tiny.ids([tiny.tokenize(PROMPTS[0]).ids] * 20)

    def samples(model: Model) -> list[list[int]]:
        torch.manual_seed(3)
        return generate(model, ids, 6, sample=True, likeliest=5)

    usual, greedy = samples(tiny), answer_of(tiny, PROMPTS[0])
    for name, value in LEAKING.items():
        setattr(tiny.hf.generation_config, name, value)
    assert samples(tiny) == usual
    assert answer_of(tiny, PROMPTS[0]) == greedy
    with torch.no_grad():
        first = tiny(ids[:1])[0, -1]
    assert {row[0] for row in usual} <= set(first.topk(5).indices.tolist())


@pytest.mark.parametrize("large", [generation.LARGE, 10])
def test_samples_follow_the_softmax(
    tiny: Model, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "LARGE", large)
    ids = tiny.ids([tiny.tokenize(PROMPTS[0]).ids])
    with torch.no_grad():
        wanted = tiny(ids)[0, -1].softmax(-1)
    torch.manual_seed(0)
    made = torch.tensor(
        [row[0] for row in generate(tiny, ids.expand(2_000, -1), 1, least=1, sample=True)]
    )
    share = torch.bincount(made, minlength=tiny.d_vocab) / len(made)
    assert (share - wanted).abs().max() < 0.05


def test_samples_are_text(demo: Model) -> None:
    """Markers are as likely as the likeliest word, and never drawn; a tag of HTML is, as it is
    text.
    """
    tokenizer = copy.deepcopy(demo.tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.add_tokens(["<start_of_image>", "[multimodal]", "<|tool|>", "<b>"])
    shape = {"n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2}
    config = t.GPT2Config(vocab_size=len(tokenizer), **shape, bos_token_id=0, eos_token_id=0)
    model = Model(t.GPT2LMHeadModel(config), tokenizer, "tiny")
    ids = model.ids([model.tokenize(PROMPTS[0]).ids])
    tag = len(tokenizer) - 1
    rows = model.hf.get_input_embeddings().weight
    with torch.no_grad():
        rows[tag - 4 :] = 100 * rows[int(model(ids)[0, -1].argmax())]
    assert control_tokens(model) == set(range(tag - 4, tag))
    torch.manual_seed(0)
    made = {row[0] for row in generate(model, ids.expand(500, -1), 1, least=1, sample=True)}
    assert tag in made and not made & control_tokens(model)


@pytest.mark.parametrize("given", [None, -1, 5, [5], [0, 5], [5, 10**9]])
@pytest.mark.parametrize("place", ["config", "generation_config"])
def test_end_tokens_are_one_or_many_or_none(given: object, place: str, tiny: Model) -> None:
    getattr(tiny.hf, place).eos_token_id = given
    assert end_tokens(tiny) == ({0} if given in (None, -1) else {0, 5})


def test_a_text_ends_at_any_end_token(tiny: Model) -> None:
    whole = complete(tiny, PROMPTS[:1], 12)[0]
    ids = generate(tiny, tiny.ids([tiny.tokenize(PROMPTS[0]).ids]), 12)[0]
    third = next(token for token in ids[2:] if token not in ids[:2])
    tiny.hf.generation_config.eos_token_id = [0, third]
    said = complete(tiny, PROMPTS[:1], 12)[0]
    assert whole.startswith(said) and said == tiny.decode(ids[: ids.index(third)])
    assert third not in generate(tiny, tiny.ids([tiny.tokenize(PROMPTS[0]).ids]), 6, least=6)[0]


def test_a_list_of_end_tokens_in_a_checkpoint(demo: Model, tmp_path, jordan: Fact) -> None:
    """As Llama 3 has: trace, locate and edit run, and its settings are saved as they were."""
    tiny = tiny_gpt2(demo)
    tiny.hf.save_pretrained(tmp_path)
    demo.tokenizer.save_pretrained(tmp_path)
    for name in ("config.json", "generation_config.json"):
        path = tmp_path / name
        path.write_text(
            json.dumps(
                {**json.loads(path.read_text()), "eos_token_id": [0, 5], "pad_token_id": None}
            )
        )
    model = open_model(tmp_path)
    assert end_tokens(model) == {0, 5}
    assert trace(model, jordan, samples=2).clean < 1
    assert locate(model, jordan)
    assert edit(model, [jordan.to("baseball")], method="rome", layers=[1]).factors
    model.hf.save_pretrained(tmp_path / "again")
    again = t.GenerationConfig.from_pretrained(tmp_path / "again")
    assert again.to_dict() == t.GenerationConfig.from_pretrained(tmp_path).to_dict()
    assert again.eos_token_id == [0, 5]


def test_no_text_outgrows_the_context(tiny: Model) -> None:
    ids = tiny.ids([[1] * 62])
    assert len(generate(tiny, ids, 20, least=20)[0]) == 3, (
        "the last token needs no place of its own"
    )
