"""Tiny random configurations of every family: those in the table hold all invariants, the others
are refused with a reason.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
import transformers as t
from einops import einsum
from torch import Tensor

from loci.editing import TargetSettings
from loci.editing.edit import edit
from loci.errors import ModelError
from loci.facts import Fact
from loci.locating import neuron_attribution, trace
from loci.model import LAYOUTS, Layout, Model
from loci.model.families import openable
from loci.model.invariants import PARALLEL as READS_PRE
from loci.model.invariants import applying, errors
from loci.model.points import ATTENTION, ONCE
from loci.reading import read
from tests.model.every_family import judged, tiny
from tests.model.families import CENTRED, MIXTURES, PARALLEL, REFUSED, SUPPORTED, make, perturbed


@pytest.fixture(params=SUPPORTED)
def family(request: pytest.FixtureRequest, demo: Model) -> Model:
    return make(request.param, demo)


def names(model: Model, *, attention: bool = True) -> list[str]:
    stems = [stem for stem in model.points() if attention or stem not in ATTENTION]
    return [
        name
        for stem in stems
        for name in ([stem] if stem in ONCE else [f"{stem}.{i}" for i in range(model.n_layers)])
    ]


@torch.no_grad()
def test_logits_are_those_of_hugging_face(family: Model, ids: Tensor) -> None:
    again = perturbed(SUPPORTED[family.name]).eval()
    assert torch.equal(family(ids), again(input_ids=ids, use_cache=False).logits)
    again.config._attn_implementation = "eager"
    with family.eager():
        assert torch.equal(family(ids), again(input_ids=ids, use_cache=False).logits)
    assert torch.equal(
        family(ids), perturbed(SUPPORTED[family.name]).eval()(input_ids=ids, use_cache=False).logits
    )
    for (name, parameter), (_, other) in zip(
        family.hf.named_parameters(), again.named_parameters(), strict=True
    ):
        assert torch.equal(parameter, other), name


@torch.no_grad()
def test_identity_patches_change_nothing_and_others_do(family: Model, ids: Tensor) -> None:
    """Every point is where the model looks: putting back what is there changes no bit, putting
    something else changes the logits.
    """
    bare = family(ids)
    with family.eager():
        eager = family(ids)
    for name in names(family):
        unchanged = eager if name.partition(".")[0] in ATTENTION else bare
        for same in (lambda x: x, lambda x: x.clone()):
            with family.patched({name: same}):
                assert torch.equal(family(ids), unchanged), name
        with family.patched(
            {name: lambda x: x.flip(-1) if x.shape[-1] < 8 else x.roll(1, -1) + 0.1}
        ):
            assert not torch.allclose(family(ids), bare, atol=1e-5), name
    assert torch.equal(family(ids), bare)


@torch.no_grad()
def test_reads_are_not_overwritten(family: Model, ids: Tensor) -> None:
    """What is read is what stood there, even where a block goes on to add to it in place."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, tensor: Tensor) -> None:
        seen[name] = tensor.clone()

    with (
        family.watch(*names(family)) as reads,
        family.patched({name: partial(keep, name) for name in names(family)}),
    ):
        family(ids)
    assert set(reads) == set(names(family))
    for name, tensor in reads.items():
        assert torch.equal(tensor, seen[name]), name


@torch.no_grad()
def test_invariants(family: Model, ids: Tensor) -> None:
    found = dict(errors(family, ids, range(family.n_layers)))
    assert found and max(found.values()) <= 1e-5, found
    assert (
        (READS_PRE.name in found)
        == (family.name in PARALLEL)
        == ("resid_mid" not in family.points())
    )
    expected = {"q", "k", "v", "attn_raw", "resid_post", "mlp_raw"} | (
        {"router"} if family.name in MIXTURES else {"mlp_pre", "mlp_act"}
    )
    assert expected <= {point for invariant in applying(family) for point in invariant.points}


@torch.no_grad()
def test_shapes_are_those_of_the_table(family: Model, ids: Tensor) -> None:
    sizes = {
        "batch": len(ids),
        "position": ids.shape[1],
        "query": ids.shape[1],
        "key": ids.shape[1],
    }
    sizes |= {
        name: getattr(family, name)
        for name in ("d_model", "d_mlp", "d_head", "n_heads", "n_kv_heads", "n_experts")
    }
    from loci.model.points import BY_NAME

    with family.watch(*names(family)) as reads:
        family(ids)
    for name, tensor in reads.items():
        shape = BY_NAME[name.partition(".")[0]].shape.split()
        assert tensor.shape == tuple(sizes[axis] for axis in shape), name


@torch.no_grad()
def test_attention_is_made_of_its_points(family: Model, ids: Tensor) -> None:
    """Patterns sum to 1 and mix the values into z, whichever head shares which: the split of q, k
    and v against their use.
    """
    if family.name == "falcon-rw":
        with pytest.raises(ModelError, match="gives other logits"):
            family.place("attn_probs.1")
        return
    points = ("q", "k", "v", "attn_scores", "attn_probs", "z")
    with family.watch(*(f"{p}.1" for p in points)) as at:
        family(ids)
    q, k, v, scores, probs, z = (at[f"{p}.1"] for p in points)
    torch.testing.assert_close(probs.sum(-1), torch.ones_like(probs.sum(-1)))
    torch.testing.assert_close(scores.softmax(-1), probs, atol=1e-6, rtol=1e-5)
    share = family.n_heads // family.n_kv_heads
    mixed = einsum(probs, v.repeat_interleave(share, 2), "b h i j, b j h d -> b i h d")
    torch.testing.assert_close(mixed, z, atol=1e-5, rtol=1e-5)
    if family.name in (
        "gpt2",
        "gpt-j",
        "pythia",
        "neox-sequential",
        "falcon-7b",
        "falcon-40b",
        "phi",
        "phi3",
        "llama",
    ):
        # a position's score with itself is free of rotation
        own = (
            einsum(q, k.repeat_interleave(share, 2), "b i h d, b i h d -> b h i")
            / family.d_head**0.5
        )
        torch.testing.assert_close(scores.diagonal(dim1=-2, dim2=-1), own, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_padding_on_either_side_changes_nothing(family: Model) -> None:
    rows = [[0, 7, 900, 33, 5, 77, 1200, 4], [0, 8, 9], [0, 2001, 6, 7, 8]]
    for side in ("left", "right"):
        ids, mask = family.padded(rows, side)
        padded = family(ids, mask)
        for row, tokens, real in zip(padded, rows, mask.bool(), strict=True):
            torch.testing.assert_close(
                row[real], family(family.ids([tokens]))[0], atol=1e-5, rtol=1e-5
            )


@torch.no_grad()
def test_replay_is_the_full_run_in_any_batch_size(family: Model, ids: Tensor) -> None:
    """Masks, rotary embeddings and sliding windows come along, from one row or from several, as
    often as wanted.
    """
    for rows in (1, 2):
        run = family.record(ids[:rows])
        assert not any(
            "Cache" in type(value).__name__ for call in run.calls for value in call.rest.values()
        )
        for layer in range(family.n_layers):
            for _ in range(2):
                torch.testing.assert_close(
                    run.replay(layer, run.resid_pre(layer)), run.logits, atol=1e-5, rtol=1e-5
                )
            more = run.replay(layer, run.resid_pre(layer).repeat(3, 1, 1))
            torch.testing.assert_close(
                more[::rows], run.logits[:1].repeat(3, 1, 1), atol=1e-5, rtol=1e-5
            )


@torch.no_grad()
@pytest.mark.parametrize("start", [0, 1, 4, 5])
def test_later_positions_alone_are_those_of_the_full_replay(
    family: Model, ids: Tensor, start: int
) -> None:
    """Whatever changes from a position on: the blocks above, and the last one where the answer is
    read, with other rows before it.
    """
    run, chosen = family.record(ids, past=True), [0, 1, 1]
    assert torch.equal(run.logits, family(ids))
    length, change = (
        ids.shape[1],
        torch.randn(3, family.d_model, generator=torch.Generator().manual_seed(0)),
    )
    for layer in range(family.n_layers):
        resid = run.resid_pre(layer)[chosen].clone()
        resid[:, start] += change
        expected, stream = run.replay(layer, resid), resid[:, start:]
        for last in {1, length - start}:
            finished = stream
            for at in range(layer, family.n_layers - 1):
                finished = run.step(at, finished, start, chosen)
            torch.testing.assert_close(
                family.unembed(run.finish(finished, start, last, chosen)),
                expected[:, -last:],
                atol=1e-5,
                rtol=1e-5,
            )


@torch.no_grad()
def test_later_positions_need_keys_and_values(family: Model, ids: Tensor) -> None:
    run = family.record(ids)
    with pytest.raises(ModelError, match="past=True"):
        run.step(0, run.resid_pre(0)[:, 2:], 2)


@torch.no_grad()
def test_replay_of_a_padded_run(family: Model) -> None:
    rows = [[0, 7, 900, 33, 5, 77], [0, 8, 9], [0, 2001, 6, 7]]
    ids, mask = family.padded(rows, "left")
    run, chosen = family.record(ids, mask), [2, 0, 2, 1]
    again = run.replay(1, run.resid_pre(1)[chosen], rows=chosen)
    torch.testing.assert_close(again[:, -3:], run.logits[chosen][:, -3:], atol=1e-5, rtol=1e-5)
    with pytest.raises(ModelError, match="say which"):
        run.replay(1, run.resid_pre(1)[chosen])
    with pytest.raises(ModelError, match="rows must name"):
        run.replay(1, run.resid_pre(1)[chosen], rows=[0, 1, 2, 3])


@torch.no_grad()
def test_later_positions_of_a_padded_run(family: Model) -> None:
    """Lines aligned in the middle, padded on both sides: what a target is searched in."""
    rows = [[0, 7, 900, 33, 5, 77], [0, 8, 9, 12], [0, 2001, 6, 7, 50]]
    at, width, start = [2, 1, 3], 7, 3
    ids, mask = torch.zeros(3, width, dtype=torch.long), torch.zeros(3, width, dtype=torch.long)
    for row, (tokens, middle) in enumerate(zip(rows, at, strict=True)):
        first = start - middle
        ids[row, first : first + len(tokens)], mask[row, first : first + len(tokens)] = (
            torch.tensor(tokens),
            1,
        )
    run, chosen = family.record(ids, mask, past=True, logits=False), [2, 0]
    assert run.logits.numel() == 0
    stream, edits = run.resid_pre(1)[chosen][:, start:].clone(), torch.randn(2, family.d_model)
    stream[:, 0] += edits
    for layer in range(1, family.n_layers):
        stream = run.step(layer, stream, start, chosen)
    found = family.unembed(stream)
    for row, which in enumerate(chosen):

        def edit(resid: Tensor, which: int = which, row: int = row) -> Tensor:
            resid = resid.clone()
            resid[0, at[which]] += edits[row]
            return resid

        with family.patched({"resid_pre.1": edit}):
            alone = family(torch.tensor([rows[which]]))[0, at[which] :]
        torch.testing.assert_close(found[row, : len(alone)], alone, atol=1e-5, rtol=1e-4)


def test_replay_carries_the_gradients_of_a_full_run(family: Model, ids: Tensor) -> None:
    run = family.record(ids)
    above, within = (run.resid_pre(1).clone().requires_grad_() for _ in range(2))
    run.replay(1, above)[:, -1, 7].sum().backward()
    with family.patched({"resid_pre.1": lambda _: within}):
        family(ids)[:, -1, 7].sum().backward()
    assert within.grad is not None and within.grad.abs().max() > 1e-4
    torch.testing.assert_close(above.grad, within.grad, atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_norms_in_parts_and_folded(family: Model, ids: Tensor) -> None:
    """Gain, centring and bias make up the norm, and a folded weight does to x / rms what norm and
    weight do to x.
    """
    x = torch.randn(5, family.d_model, generator=torch.Generator().manual_seed(0))
    layout = family.layout
    cases = [("final_norm", None, "W_U", family.W_U, family.b_U)]
    if layout.attn_norm:
        cases += [
            ("attn_norm", 1, f"W_{n}.1", getattr(family, f"W_{n}")(1), getattr(family, f"b_{n}")(1))
            for n in "QKV"
        ]
    if layout.mlp_norm and not layout.experts:
        cases += [("mlp_norm", 1, "W_up.1", family.W_up(1), family.b_up(1))]
    for name, layer, weight, W, b in cases:
        norm = family.norm(name, layer)
        assert norm.centres == (family.name in CENTRED)
        z = x - x.mean(-1, keepdim=True) if norm.centres else x
        unit = z / z.square().mean(-1, keepdim=True).sqrt()
        normed = family.module(name, layer)(x)
        torch.testing.assert_close(norm.gain * unit + norm.bias, normed, atol=1e-3, rtol=1e-3)
        folded = family.folded(weight)
        direct = einsum(W, normed, "... o m, b m -> b ... o") + b
        scaled = x / z.square().mean(-1, keepdim=True).sqrt()
        torch.testing.assert_close(
            einsum(folded.weight, scaled, "... o m, b m -> b ... o") + folded.bias,
            direct,
            atol=1e-3,
            rtol=1e-3,
        )


@torch.no_grad()
def test_embeddings(family: Model, ids: Tensor) -> None:
    with family.watch("embed") as at:
        family(ids)
    torch.testing.assert_close(family.W_E[ids] * family.embed_scale, at["embed"])
    assert family.embed_scale == pytest.approx(32**0.5 if "gemma" in family.name else 1.0, rel=1e-3)
    tied = family.config.tie_word_embeddings
    assert family.tied == bool(tied) == (family.W_E.data_ptr() == family.W_U.data_ptr())


def test_views_share_memory_with_the_parameters(family: Model) -> None:
    def shares(view: Tensor, module: torch.nn.Module, name: str = "weight") -> bool:
        return (
            view.untyped_storage().data_ptr() == getattr(module, name).untyped_storage().data_ptr()
        )

    once = {"expand": False} if family.n_kv_heads < family.n_heads else {}
    assert shares(family.W_O(1), family.module("o", 1))
    if family.name != "falcon-40b":  # q of shared groups cannot be a view
        assert shares(family.W_Q(1), family.module("q", 1))
    assert shares(family.W_K(1, **once), family.module("k", 1))
    assert family.W_K(1).shape == (family.n_heads, family.d_head, family.d_model)
    assert torch.equal(family.W_K(1)[-1], family.W_K(1, expand=False)[-1])
    if family.name in MIXTURES:
        assert shares(family.W_down(1, 2), family.module("experts", 1), "down_proj")
        return
    for name in ("W_up.1", "W_down.1"):
        assert shares(family.weight(name), family.module(name[2:].partition(".")[0], 1))


def test_the_rooms_above_work(family: Model) -> None:
    fact = Fact("Michael Jordan", "{} plays the sport of", "golf")
    traced = trace(family, fact, samples=2)
    texts = ["Michael Jordan plays the sport of basketball.", "The king slept."]
    if family.name in MIXTURES:
        for asked in (
            lambda: neuron_attribution(family, fact),
            lambda: read(family, "L1N3", texts),
            lambda: edit(family, [fact.to("chess")]),
        ):
            with pytest.raises(ModelError, match="mixtures of 4 experts"):
                asked()
        return
    cells = neuron_attribution(family, fact, samples=2, steps=32)
    torch.testing.assert_close(
        cells.expected, traced.grids["mlp"][:, cells.token], atol=1e-6, rtol=1e-3
    )
    card = read(family, "L1N3", texts, top=2)
    assert len(card.promotes) == 2
    before = family.fingerprint
    moments = {0: torch.eye(family.d_mlp, dtype=torch.float64)}
    quick = TargetSettings(steps=3, contexts=1, essence=1, own=0)
    patch = edit(
        family,
        [fact.to("chess")],
        layers=[0],
        moments=moments,
        texts=texts,
        settings=quick,
        report=False,
    )
    with patch.applied(family):
        assert family.fingerprint != before
    assert family.fingerprint == before


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_add_up_is_refused(name: str, demo: Model) -> None:
    with pytest.raises(ModelError, match=r"not supported yet|lacks final_norm"):
        Model(perturbed(REFUSED[name]), demo.tokenizer, name)


def test_every_row_of_the_table_is_tried(demo: Model) -> None:
    assert {make(name, demo).layout for name in SUPPORTED} == set(LAYOUTS)


def test_absent_points_say_why(demo: Model) -> None:
    with pytest.raises(ModelError, match="side by side"):
        make("pythia", demo).place("resid_mid.1")
    with pytest.raises(ModelError, match="not gated"):
        make("gpt2", demo).place("mlp_up.1")
    with pytest.raises(ModelError, match="mixtures of 4 experts"):
        make("mixtral", demo).place("mlp_act.1")


@torch.no_grad()
def test_routing_is_shown_and_patched(demo: Model, ids: Tensor) -> None:
    model = make("mixtral", demo)
    weights = model.read(ids, "router.1")["router.1"]
    assert ((weights > 0).sum(-1) == 2).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(ids.shape))

    def only(expert: int) -> Tensor:
        with (
            model.patched(
                {
                    "router.1": lambda w: torch.nn.functional.one_hot(
                        torch.full(w.shape[:2], expert), 4
                    ).to(w)
                }
            ),
            model.watch("mlp_in.1", "mlp_raw.1") as at,
        ):
            model(ids)
        x = at["mlp_in.1"]
        neurons = torch.nn.functional.silu(x @ model.W_gate(1, expert).T) * (
            x @ model.W_up(1, expert).T
        )
        torch.testing.assert_close(
            neurons @ model.W_down(1, expert).T, at["mlp_raw.1"], atol=1e-5, rtol=1e-5
        )
        return at["mlp_raw.1"]

    assert not torch.allclose(only(0), only(3))
    with pytest.raises(ModelError, match="say which"):
        model.W_down(1)
    with pytest.raises(ModelError, match="no expert 4"):
        model.W_down(1, 4)


def test_an_unknown_family_by_a_layout_of_ones_own(
    demo: Model, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A family under other names: refused with what was found, opened with a layout that says where
    the parts are.
    """
    hf = perturbed(SUPPORTED["llama"])
    for block in hf.model.layers:
        block.feedforward = block.mlp
        del block.mlp
    monkeypatch.setattr(
        t.models.llama.modeling_llama.LlamaDecoderLayer, "forward", _renamed_forward
    )
    with pytest.raises(
        ModelError, match=r"nearest is llama, which lacks .*mlp.up_proj.* and has .*blocks"
    ):
        Model(hf, demo.tokenizer, "mine")
    mine = Layout(
        family="mine", blocks="model.layers", embed="model.embed_tokens", final_norm="model.norm",
        attn="self_attn",
        attn_norm="input_layernorm", mlp_norm="post_attention_layernorm", q="self_attn.q_proj",
        k="self_attn.k_proj",
        v="self_attn.v_proj", o="self_attn.o_proj", mlp="feedforward", up="feedforward.up_proj",
        gate="feedforward.gate_proj", down="feedforward.down_proj",
    )  # fmt: skip
    model = Model(hf, demo.tokenizer, "mine", mine)
    assert max(error for _, error in errors(model, ids, range(3))) <= 1e-5


def _renamed_forward(self, hidden_states, **kwargs):
    hidden_states = (
        hidden_states
        + self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)[0]
    )
    return hidden_states + self.feedforward(self.post_attention_layernorm(hidden_states))


WALKED = {
    "healthy": ("ernie4_5", "exaone4", "gpt_bigcode", "granite", "helium", "olmo3", "vaultgemma"),
    "refused": (
        "apertus", "arcee", "bert", "bitnet", "cohere2", "deepseek_v3", "diffllama", "gemma3n_text",
        "gpt_oss", "granite_swa",
        "hunyuan_v1_moe", "llama4_text", "mamba", "minimax_m3_vl_text", "qwen2_moe", "qwen3_next",
        "whisper", "xglm",
    ),
}  # fmt: skip
"""A sample of `python -m benchmarks.families`, which walks all of them."""


@pytest.mark.parametrize("name", [name for names in WALKED.values() for name in names])
def test_a_family_opens_healthy_or_is_refused_in_one_line(name: str, demo: Model) -> None:
    found = judged(name, demo.tokenizer)
    assert found.verdict == next(verdict for verdict, names in WALKED.items() if name in names), (
        found
    )
    if found.verdict == "refused":
        assert "Pass layout=loci.Layout(...)" in found.note
        assert (
            found.note.endswith(f"what opens without: {openable()}")
            and "Llama 1–3, Mistral" in found.note
        )


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("vaultgemma", "llama-parallel", r"mlp_norm\(resid_pre\) = mlp_in"),
        ("bitnet", "llama", "mlp_act depends on mlp_pre neuron by neuron"),
        ("diffllama", "llama", "Σ attn_probs · v = z"),
    ],
)
def test_a_row_whose_norms_neurons_or_patterns_are_others_is_refused(
    name: str, row: str, reason: str, demo: Model
) -> None:
    layout = next(layout for layout in LAYOUTS if layout.family == row)
    with pytest.raises(ModelError, match=f"looks like {row!r}, but does not hold {reason}"):
        Model(tiny(name), demo.tokenizer, name, layout)


@pytest.mark.parametrize("norm", ["attn_norm", "mlp_norm"])
def test_a_norm_of_another_name_is_refused_and_seen_by_the_doctor(
    norm: str, demo: Model, ids: Tensor
) -> None:
    """A row that takes one norm for the other: both are there, and each gives another output than
    the part behind it reads.
    """
    other = {"attn_norm": "post_attention_layernorm", "mlp_norm": "input_layernorm"}[norm]
    llama = next(layout for layout in LAYOUTS if layout.family == "llama")
    with pytest.raises(ModelError, match="does not hold"):
        Model(
            perturbed(SUPPORTED["llama"]),
            demo.tokenizer,
            "swapped",
            replace(llama, **{norm: other}),
        )
    model = make("llama", demo)
    model.layout = replace(llama, **{norm: other})
    wrong = {name for name, error in errors(model, ids, range(3)) if error > 1e-3}
    assert any(name.startswith(f"{norm}(") for name in wrong)
