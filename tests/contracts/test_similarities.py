"""What every similarity must do, whichever it is; new ones are tested here by being on the list."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofmu.core import Blocks, Similarity, Vector, similarity
from ofmu.core.blocks import layer_of
from ofmu.core.similarity import GROUP, SIMILARITIES, find, make
from ofmu.errors import InputError
from ofmu.methods.ofmu import OFMU

NAMES = sorted(SIMILARITIES)
OF_THE_ANGLE = ("cosine", "squared_cosine", "hinge", "squared_hinge", "soft_hinge", "euclid", "angle")
SYMMETRIC = (*OF_THE_ANGLE, "inner_product", "squared_inner_product")
FREE = ("hinge", "squared_hinge")
OWN = "from ofmu.core.measures import Cosine\nclass Own(Cosine.__base__):\n    pass\n    phi = slopes = Cosine.phi\n"
SHAPES = {"layers.0.w": (3, 4), "layers.0.b": (4,), "layers.1.w": (5,), "head.weight": (2, 3)}


def pair(seed: int = 0, cosine: float = 0.4) -> tuple[Vector, Vector]:
    """Two vectors of unequal lengths at that cosine, in float64."""
    g = torch.Generator().manual_seed(seed)
    u, n = (Vector({k: torch.randn(s, generator=g, dtype=torch.float64) for k, s in SHAPES.items()}) for _ in range(2))
    u = u / u.norm()
    n = n.plus(u, -float(n.dot(u)))
    n = n / n.norm()
    return 1.7 * u, 0.6 * (cosine * u + (1 - cosine**2) ** 0.5 * n)


def same(x: Vector, y: Vector, rtol: float = 1e-12) -> bool:
    return float((x - y).norm()) <= rtol * max(float(x.norm()), float(y.norm()), 1e-300)


def joined(vector: Vector) -> torch.Tensor:
    return torch.cat([x.flatten() for x in vector.values()])


@pytest.mark.parametrize("cosine", [0.4, -0.4])
@pytest.mark.parametrize("name", NAMES)
def test_partials_are_the_value_s_own_derivatives(name: str, cosine: float):
    """Against differences of the value along random directions: nothing shared with the closed form."""
    s, (g_f, g_r), (d_f, d_r) = make(name), pair(cosine=cosine), pair(seed=1)
    p, q = s.partials(g_f, g_r)
    h = 1e-6
    for partial, moved in (
        (p.dot(d_f), lambda t: s.value(g_f.plus(d_f, t), g_r)),
        (q.dot(d_r), lambda t: s.value(g_f, g_r.plus(d_r, t))),
    ):
        assert float(partial) == pytest.approx(float(moved(h) - moved(-h)) / (2 * h), rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("name", OF_THE_ANGLE)
def test_the_angle_alone_is_seen(name: str):
    s, (g_f, g_r) = make(name), pair()
    p, q = s.partials(g_f, g_r)
    assert float(s.value(3 * g_f, 0.2 * g_r)) == pytest.approx(float(s.value(g_f, g_r)), rel=1e-12)
    assert abs(float(p.dot(g_f))) < 1e-12
    assert abs(float(q.dot(g_r))) < 1e-12


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(OF_THE_ANGLE)))
def test_others_see_the_scale(name: str):
    s, (g_f, g_r) = make(name), pair()
    assert abs(float(s.value(3 * g_f, 0.2 * g_r) / s.value(g_f, g_r)) - 1) > 0.1


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_where_it_should_be(name: str):
    s, (g_f, g_r) = make(name), pair()
    p, q = s.partials(g_f, g_r)
    again_q, again_p = s.partials(g_r, g_f)
    assert float(s.value(g_f, g_r)) == pytest.approx(float(s.value(g_r, g_f)), rel=1e-14)
    assert same(p, again_p)
    assert same(q, again_q)


def test_the_two_projections_are_each_other_s_mirror():
    g_f, g_r = pair()
    p, q = make("projection").partials(g_f, g_r)
    other_p, other_q = make("retain_projection").partials(g_r, g_f)
    assert same(p, other_q)
    assert same(q, other_p)
    assert same(p, g_r / g_r.norm())


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("which", ["forget", "retain", "both"])
@pytest.mark.parametrize("name", NAMES)
def test_where_a_gradient_vanishes_all_is_finite(name: str, which: str, epsilon: float):
    g_f, g_r = pair()
    g_f = g_f * 0.0 if which != "retain" else g_f
    g_r = g_r * 0.0 if which != "forget" else g_r
    slope = make(name).slope(g_f, g_r, epsilon=epsilon)
    for vector in (slope.p(g_f, g_r), slope.q(g_f, g_r)):
        assert vector.is_finite()
        assert epsilon > 0 or float(vector.norm()) == 0  # no angle, no slope
    assert epsilon > 0 or not slope.active


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", NAMES)
def test_parallel_and_opposed_gradients_are_no_singularity(name: str, sign: float):
    g_f, _ = pair()
    s = make(name)
    assert torch.isfinite(s.value(g_f, sign * g_f))
    for vector in s.partials(g_f, sign * g_f):
        assert vector.is_finite()
        assert float(vector.norm()) < 1e3


@pytest.mark.parametrize("name", NAMES)
def test_hinges_alone_are_free_without_conflict(name: str):
    assert make(name).slope(*pair(cosine=-0.2)).active == (name not in FREE)
    assert make(name).slope(*pair(cosine=0.2)).active


@pytest.mark.parametrize("name", NAMES)
def test_one_block_is_the_whole(name: str):
    g_f, g_r = (Vector({"layer.a": joined(v)[:9], "layer.b": joined(v)[9:]}) for v in pair())
    s = make(name)
    for weights in ("sum", "size"):
        block = Blocks(s, "layer", weights)
        assert float(block.value(g_f, g_r, epsilon=0.2)) == pytest.approx(
            float(s.value(g_f, g_r, epsilon=0.2)), rel=1e-14
        )
        for x, y in zip(block.partials(g_f, g_r, epsilon=0.2), s.partials(g_f, g_r, epsilon=0.2), strict=True):
            assert same(x, y)


@pytest.mark.parametrize("weights", ["sum", "size"])
@pytest.mark.parametrize("by", ["layer", "tensor"])
@pytest.mark.parametrize("name", NAMES)
def test_blocks_against_autograd_of_their_sum(name: str, by: str, weights: str):
    """A sum over blocks written out, on leaves that autograd differentiates."""
    plain = pair(seed=3)
    g_f, g_r = (Vector({k: x.clone().requires_grad_() for k, x in v.items()}) for v in plain)
    groups = [["layers.0.w", "layers.0.b"], ["layers.1.w"], ["head.weight"]] if by == "layer" else [[k] for k in SHAPES]
    total = sum(x.numel() for x in plain[0].values())
    s = make(name)
    value = torch.zeros((), dtype=torch.float64)
    for group in groups:
        inside = [Vector({k: v[k] for k in group}) for v in (g_f, g_r)]
        share = sum(x.numel() for x in inside[0].values()) / total
        value = value + (1.0 if weights == "sum" else share) * s.value(*inside)
    leaves = [*g_f.values(), *g_r.values()]
    true = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
    block = Blocks(s, by, weights)
    assert float(block.value(*plain)) == pytest.approx(value.item(), rel=1e-13)
    p, q = block.partials(*plain)
    for found, expected in zip([*p.values(), *q.values()], true, strict=True):
        assert torch.allclose(found, expected, rtol=1e-11, atol=1e-13)


DEGREES = {
    **dict.fromkeys(OF_THE_ANGLE, (0, 0)),
    "projection": (1, 0),
    "projection_energy": (2, 0),
    "retain_projection": (0, 1),
    "inner_product": (1, 1),
    "squared_inner_product": (2, 2),
}
"""name → how s grows with the length of the forget and of the retain gradient."""


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.integers(0, 10**6),
    st.floats(-0.95, 0.95),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
)
def test_each_grows_with_the_lengths_as_its_formula_says(name: str, seed: int, cosine: float, one: float, other: float):
    """s(αg_f, δg_r) = αⁱδʲ s(g_f, g_r), and so Euler's p·g_f = i s and q·g_r = j s."""
    s, (g_f, g_r), (i, j) = make(name), pair(seed, cosine), DEGREES[name]
    value = float(s.value(g_f, g_r))
    size = max(abs(value), 1e-6)
    assert float(s.value(one * g_f, other * g_r)) / (one**i * other**j) == pytest.approx(value, abs=1e-9 * size)
    p, q = s.partials(g_f, g_r)
    assert float(p.dot(g_f)) == pytest.approx(i * value, abs=1e-9 * size)
    assert float(q.dot(g_r)) == pytest.approx(j * value, abs=1e-9 * size)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 10**6), st.floats(-0.95, 0.95), st.floats(0, 2), st.booleans())
def test_one_block_is_the_whole_whatever_the_gradients(
    name: str, seed: int, cosine: float, epsilon: float, summed: bool
):
    g_f, g_r = (Vector({"layer.a": joined(v)[:9], "layer.b": joined(v)[9:]}) for v in pair(seed, cosine))
    s, block = make(name), make(name, blocks="layer", weights="sum" if summed else "size")
    for x, y in zip(block.partials(g_f, g_r, epsilon=epsilon), s.partials(g_f, g_r, epsilon=epsilon), strict=True):
        assert same(x, y)
    assert float(block.value(g_f, g_r, epsilon=epsilon)) == pytest.approx(
        float(s.value(g_f, g_r, epsilon=epsilon)), rel=1e-12, abs=1e-15
    )


def test_layers_by_name():
    assert layer_of("transformer.h.11.attn.c_attn.weight") == "transformer.h.11"
    assert layer_of("bias") == "bias"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cosin", "did you mean 'cosine'"),
        ("own_similarity:Nothing", "cannot be loaded"),
        ("pathlib:Path", "is no similarity"),
        ("ofmu.core:Similarity", "is no similarity"),
    ],
)
def test_a_name_that_is_none_gets_one_line(name: str, message: str):
    with pytest.raises(InputError, match=message):
        make(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError('no\\nluck')", "cannot be loaded: ValueError: no luck [^\n]*, line 1[^\n]*$"),
        ("def f(:", "cannot be loaded: SyntaxError: [^\n]*, line 1[^\n]*$"),
        (
            OWN.replace("pass", "def __init__(self): 1 / 0"),
            "cannot be made: ZeroDivisionError: division by zero [^\n]*, line 3[^\n]*$",
        ),
    ],
)
def test_a_file_of_one_s_own_that_fails_gets_one_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / f"{tmp_path.name}.py").write_text(text)  # a module of its own for each case
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=message):
        make(f"{tmp_path.name}:Own")


@pytest.mark.parametrize("name", NAMES)
def test_what_may_rest_says_so(name: str):
    s, away = make(name), pair(cosine=-0.4)
    assert s.may_rest == find(name).may_rest == (not s.slope(*away).active)
    assert Blocks(s).may_rest == s.may_rest


def test_a_hinge_of_one_s_own_is_looked_at_before_its_curvature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_hinge.py").write_text(OWN.replace("pass", "may_rest = True"))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, cheap in (("own_hinge:Own", True), ("hinge", True), ("cosine", False), ("none", False)):
        settings = OFMU(similarity=name, retain_direction="last").settings()
        assert settings.looks_before == cheap


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="margin is 2"):
        make("hinge", margin=2.0)
    with pytest.raises(InputError, match="blocks of blocks"):
        Blocks(Blocks(make("cosine")))
    with pytest.raises(InputError, match="kind of block"):
        make("cosine", blocks="row")  # pyright: ignore[reportArgumentType]


def test_one_s_own_similarity_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cubic.py").write_text(
        "import torch\n"
        "from ofmu.core import Measure\n\n\n"
        "class Cubic(Measure):\n"
        "    def phi(self, a, b, c):\n"
        "        return c**3\n\n"
        "    def slopes(self, a, b, c):\n"
        "        return torch.zeros_like(c), torch.zeros_like(c), 3 * c**2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = find("cubic:Cubic")
    assert issubclass(kind, Similarity)
    assert float(make("cubic:Cubic").value(*pair(cosine=0.4))) == pytest.approx(0.064, rel=1e-12)


def test_a_package_s_similarity_is_known_by_name(monkeypatch: pytest.MonkeyPatch):
    mine = EntryPoint("cubic_hinge", "ofmu.core.measures:SquaredHinge", GROUP)
    broken = EntryPoint("broken", "ofmu.core.measures:Nothing", GROUP)
    monkeypatch.setattr(similarity, "entry_points", lambda group: [mine, broken] if group == GROUP else [])
    assert {"cubic_hinge", "broken", *NAMES} == set(similarity.names())
    assert make("cubic_hinge", margin=0.2) == make("squared_hinge", margin=0.2)
    with pytest.raises(InputError, match="'broken' cannot be loaded"):
        make("broken")
