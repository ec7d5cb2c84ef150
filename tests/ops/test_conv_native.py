"""Convolutions in native code: products through tables of offsets against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgraph as sg
from symgraph.core.dtype import FLOAT32
from symgraph.core.errors import VerifyError
from symgraph.core.op import ops
from symgraph.cpu.native import jit
from symgraph.loops import convolution
from symgraph.loops.builder import LoopBuilder
from symgraph.loops.convolution import table
from symgraph.loops.expr import Buffer
from symgraph.loops.meetings import AS_THEY_ARE, IMAGES_INNERMOST, Order, order_of, orders_of
from symgraph.loops.statements import LibraryCall, Program
from symgraph.loops.verify import verify_program
from symgraph.testing.tolerances import RELATIVE

DTYPES = ("float32", "float64")
KINDS = ("conv2d", "conv2d_input", "conv2d_filter")


@st.composite
def geometries(draw: Any) -> dict[str, Any]:
    """Draw sizes and parameters of a convolution that has at least one window."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    stride, dilation = draw(pair), draw(pair)
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    padding = draw(st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2))
    reach = [d * (k - 1) + 1 - sum(p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    sizes = [max(1, r) + draw(st.integers(0, 20)) for r in reach]
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return {
        "x": (draw(st.integers(1, 3)), groups * draw(st.integers(1, 9)), *sizes),
        "out": groups * draw(st.integers(1, 20)),
        "kernel": kernel,
        "params": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    }


def shapes_of(case: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return the shapes of images, filters and result."""
    n, c, *sizes = case["x"]
    p = case["params"]
    filters = (case["out"], c // p["groups"], *case["kernel"])
    places = [
        (size + sum(pad) - d * (k - 1) - 1) // s + 1
        for size, pad, d, k, s in zip(
            sizes, p["padding"], p["dilation"], case["kernel"], p["stride"], strict=True
        )
    ]
    return case["x"], filters, (n, case["out"], *places)


def problem(kind: str, case: dict[str, Any], dtype: str, seed: int = 0) -> tuple[Any, Any]:
    """Return the two arrays of an op, and the node as a function of them."""
    x, w, y = shapes_of(case)
    first, second = {"conv2d": (x, w), "conv2d_input": (y, w), "conv2d_filter": (x, y)}[kind]
    size = {"conv2d": {}, "conv2d_input": {"size": x[2:]}, "conv2d_filter": {"size": w[1:]}}[kind]
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s).astype(dtype) for s in (first, second)]

    def make(a: Any, b: Any) -> Any:
        return ops[kind](a, b, **case["params"], **size)

    return arrays, make


def wanted(make: Any, arrays: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the result in float64, and that of the absolute values: the scale of its error."""
    found = []
    for f in (lambda a: a, np.abs):
        wide = [f(a.astype(np.float64)) for a in arrays]
        node = make(*(sg.tensor("v", a.shape, "float64") for a in wide))
        found.append(node.op.numpy(node, *wide))
    return found[0], found[1]


def check(make: Any, arrays: Any, **options: Any) -> np.ndarray:
    inputs = [sg.tensor(name, a.shape, str(a.dtype)) for name, a in zip("ab", arrays, strict=True)]
    found = sg.function(inputs, make(*inputs), **options)(*arrays)
    value, scale = wanted(make, arrays)
    assert found.shape == value.shape
    assert np.all(np.abs(found - value) <= RELATIVE[str(arrays[0].dtype)] * scale + 1e-300)
    return found


@settings(max_examples=60, deadline=None)
@given(case=geometries(), kind=st.sampled_from(KINDS), dtype=st.sampled_from(DTYPES))
def test_any_geometry_agrees_with_the_definition(case: Any, kind: str, dtype: str) -> None:
    arrays, make = problem(kind, case, dtype)
    check(make, arrays)


@settings(max_examples=15, deadline=None)
@given(case=geometries(), kind=st.sampled_from(KINDS))
def test_exact_and_generic_versions_have_the_same_bits(case: Any, kind: str) -> None:
    arrays, make = problem(kind, case, "float32")
    a, b = (sg.tensor(name, (None,) * 4, "float32") for name in "ab")
    node = make(a, b)
    exact, generic = (sg.function([a, b], node, shapes=s)(*arrays) for s in ("exact", "generic"))
    np.testing.assert_array_equal(exact, generic)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_debug_mode_checks_the_lowering(kind: str, threads: int) -> None:
    """The interpreter of the loop program and NumPy agree with native code."""
    case = {
        "x": (2, 6, 9, 8), "out": 4, "kernel": (3, 2),
        "params": {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2), "groups": 2},
    }  # fmt: skip
    arrays, make = problem(kind, case, "float32")
    inputs = [sg.tensor(name, a.shape, "float32") for name, a in zip("ab", arrays, strict=True)]
    sg.set_threads(threads)
    try:
        plain = sg.function(inputs, make(*inputs))(*arrays)
        debug = sg.function(inputs, make(*inputs), mode="debug")(*arrays)
    finally:
        sg.set_threads(2)
    np.testing.assert_array_equal(plain, debug)


def layer(x: Any, out: int, kernel: Any, **params: Any) -> dict[str, Any]:
    plain = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    return {"x": x, "out": out, "kernel": kernel, "params": plain | params}


LAYERS = {
    "small images, a long sum": layer((3, 130, 7, 7), 20, (3, 3), padding=((1, 1), (1, 1))),
    "few channels, a long stride": layer((2, 3, 40, 41), 16, (11, 11), stride=(4, 4)),
    "stride and kernel differ": layer((2, 3, 21, 30), 8, (4, 5), stride=(3, 2), dilation=(2, 3)),
    "one pixel": layer((2, 40, 9, 9), 50, (1, 1), stride=(2, 2)),
    "several blocks": layer((1, 64, 30, 30), 300, (3, 3)),
    "groups": layer((2, 12, 14, 14), 20, (3, 3), groups=4),
    "depthwise": layer((2, 8, 15, 16), 16, (5, 5), stride=(2, 2), groups=8),
    "window larger than the image": layer((2, 3, 2, 2), 4, (5, 5), padding=((2, 3), (2, 2))),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_the_same_bits_whatever_is_known_and_whoever_helps(
    name: str, kind: str
) -> None:
    arrays, make = problem(kind, LAYERS[name], "float32")
    exact = check(make, arrays, shapes="exact")
    a, b = (sg.tensor(name, (None,) * 4, "float32") for name in "ab")
    generic = sg.function([a, b], make(a, b), shapes="generic")
    try:
        for threads in (1, 2):
            sg.set_threads(threads)
            np.testing.assert_array_equal(generic(*arrays), exact)
    finally:
        sg.set_threads(2)


@pytest.mark.parametrize("kind", KINDS)
def test_no_images_at_all(kind: str) -> None:
    arrays, make = problem(kind, layer((0, 3, 6, 6), 4, (3, 3)), "float32")
    inputs = [sg.tensor(name, a.shape, "float32") for name, a in zip("ab", arrays, strict=True)]
    found = sg.function(inputs, make(*inputs))(*arrays)
    assert found.shape == make(*inputs).type.shape and not found.any()


def test_nan_stays_in_windows_that_meet_it() -> None:
    arrays, make = problem("conv2d", layer((1, 5, 9, 9), 7, (3, 3)), "float32")
    arrays[0][0, 2, 4, 4] = np.nan
    inputs = [sg.tensor(name, a.shape, "float32") for name, a in zip("ab", arrays, strict=True)]
    bad = np.isnan(sg.function(inputs, make(*inputs))(*arrays))
    assert bad[:, :, 2:5, 2:5].all() and bad.sum() == 7 * 9


@pytest.mark.parametrize("shapes", ["exact", "generic"])
def test_convolutions_in_a_loop(shapes: str) -> None:
    """Operands and results that move from step to step, and the derivative through all of them."""
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(s).astype("float32") for s in ((2, 3, 8, 8), (4, 3, 3, 3, 3))]
    x, filters = (sg.tensor(n, a.shape, "float32") for n, a in zip("xw", arrays, strict=True))

    def step(w: Any, h: Any) -> Any:
        return sg.tanh(sg.conv2d(h, w, padding=1))

    states = sg.scan(step, filters, x)
    total = sg.square(states).sum()
    value = [states, sg.grad(total, filters)]
    found = sg.function([x, filters], value, shapes=shapes)(*arrays)
    checked = sg.function([x, filters], value, mode="debug")(*arrays)
    for p, q in zip(found, checked, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-6)


def test_the_verifier_knows_what_a_contraction_reaches() -> None:
    """The table of the terms of a 3 x 3 window: one row of the image further on is outside."""
    image, out = (
        Buffer("x", FLOAT32, (1, 2, 5, 6), "input"),
        Buffer("y", FLOAT32, (4, 12), "output"),
    )
    filters = Buffer("w", FLOAT32, (4, 2, 3, 3), "input")
    axes = (((4,), (18,)), ((18,), (1,)), ((2, 3, 3), (30, 6, 1)), ((3, 4), (6, 1)), ((12,), (1,)))
    tables = tuple(table(*a) for a in axes)

    def program(start: int) -> Program:
        part = (12, (0, 1, 0, 1), 0, 0, *tables[3:])
        params = ((4, 12, 18), (0, start, 0), 12, tables[:3], (), (1, 1), (part,))
        call = LibraryCall("contract", (out,), (filters, image), params)
        return Program(LoopBuilder(), [image, filters, out], [call])

    verify_program(program(0), "test")
    for start in (-1, 1):
        with pytest.raises(VerifyError, match="reach"):
            verify_program(program(start), "test")


@pytest.mark.parametrize("stride", [1, 2])
def test_padding_that_depends_on_run_time_sizes(stride: int) -> None:
    """Padding "same" with a stride is computed from the sizes of the call."""
    x, w = (sg.tensor(name, (None,) * 4, "float32") for name in "xw")
    y = sg.conv2d(x, w, stride=stride, padding="same")
    value = [y, *sg.grad(sg.square(y).sum(), [x, w])]
    exact, generic = (sg.function([x, w], value, shapes=s) for s in ("exact", "generic"))
    rng = np.random.default_rng(7)
    for height, width, kernel in ((9, 12, 3), (10, 7, 4), (6, 6, 2)):
        arrays = [
            rng.standard_normal(s).astype("float32")
            for s in ((2, 3, height, width), (5, 3, kernel, 3))
        ]
        for p, q in zip(exact(*arrays), generic(*arrays), strict=True):
            np.testing.assert_array_equal(p, q)


def in_order(node: Any, which: int) -> Order:
    """Return one of the orders of a convolution, by its place among them; the usual one is 0."""
    orders = orders_of(node)
    return orders[min(which, len(orders) - 1)]


@settings(max_examples=80, deadline=None)
@given(
    case=geometries(), images=st.sampled_from([1, 2, 3, 16, 17]),
    kind=st.sampled_from(KINDS), dtype=st.sampled_from(DTYPES),
    which=st.integers(1, 2),
)  # fmt: skip
def test_any_order_of_columns_gives_the_same_bits(
    case: Any, images: int, kind: str, dtype: str, which: int
) -> None:
    """What meets zeros around images only is left out of the sums, which stay one chain."""
    case = {**case, "x": (images, *case["x"][1:])}
    arrays, make = problem(kind, case, dtype)
    usual = check(make, arrays, shapes="generic")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "order_of", lambda node: in_order(node, which))
        found = check(make, arrays, shapes="exact")
    np.testing.assert_array_equal(usual, found)


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize(
    "case",
    [
        layer((16, 40, 7, 7), 50, (3, 3), padding=((1, 1), (1, 1))),
        layer((5, 70, 9, 6), 20, (5, 3), padding=((2, 1), (0, 2))),
        layer((16, 12, 11, 11), 24, (5, 5), padding=((2, 2), (2, 2)), groups=2),
        layer((8, 33, 10, 12), 30, (3, 4), padding=((1, 1), (3, 3)), stride=(2, 3)),
        layer((16, 6, 12, 13), 70, (7, 7), padding=((6, 6), (6, 6)), dilation=(2, 2)),
    ],
)
def test_parts_of_columns_are_the_same_for_all_threads_and_vectors(
    case: Any, which: int, kind: str, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = jit.target(cpu=cpu)
    if other.vector_bytes > jit.target().vector_bytes:
        pytest.skip(f"this machine does not run code for {cpu}")
    monkeypatch.setattr(jit, "target", lambda: other)
    arrays, make = problem(kind, case, "float32")
    wanted = check(make, arrays, shapes="generic")
    monkeypatch.setattr(convolution, "order_of", lambda node: in_order(node, which))
    inputs = [sg.tensor(name, a.shape, "float32") for name, a in zip("ab", arrays, strict=True)]
    f = sg.function(inputs, make(*inputs), shapes="exact")
    try:
        for threads in (1, 2, 4):
            sg.set_threads(threads)
            np.testing.assert_array_equal(f(*arrays), wanted)
    finally:
        sg.set_threads(2)
    debug = sg.function(inputs, make(*inputs), mode="debug")(*arrays)
    np.testing.assert_array_equal(debug, wanted)


@pytest.mark.parametrize("kind", ["conv2d", "conv2d_input"])
def test_zeros_around_small_images_are_not_multiplied(kind: str) -> None:
    """An infinite element of the filters meets no zero in a batch of small images."""
    case = layer((16, 64, 7, 7), 64, (3, 3), padding=((1, 1), (1, 1)))
    arrays, make = problem(kind, case, "float32")
    arrays[1][..., 0, 0] = np.inf
    inputs = [sg.tensor(name, a.shape, "float32") for name, a in zip("ab", arrays, strict=True)]
    found = sg.function(inputs, make(*inputs), shapes="exact")(*arrays)
    met = np.zeros((7, 7), bool)
    met[(slice(1, None) if kind == "conv2d" else slice(-1),) * 2] = True
    assert np.isfinite(found[..., ~met]).all()
    assert not np.isfinite(found[..., met]).any()


def order(images: int, channels: int, size: int, out: int, window: int, **params: Any) -> Order:
    case = layer((images, channels, size, size), out, (window, window), **params)
    arrays, make = problem("conv2d", case, "float32")
    return order_of(make(*(sg.tensor("v", a.shape, "float32") for a in arrays)))


def test_small_images_of_batches_are_innermost() -> None:
    """Where zeros are much of the work, and images fill vectors; not where copies cost more."""
    same = {"padding": ((1, 1), (1, 1))}
    small = order(16, 128, 7, 128, 3, **same)
    assert small == Order(IMAGES_INNERMOST, IMAGES_INNERMOST, (True, True))
    assert order(1, 512, 14, 512, 3, **same) == Order(cut=(True, False))
    assert order(1, 64, 224, 64, 3, **same) == Order()
    assert order(16, 64, 112, 64, 3, **same).operand == AS_THEY_ARE
    assert order(3, 128, 7, 128, 3, **same).operand == AS_THEY_ARE
    assert order(32, 4, 84, 32, 8, stride=(4, 4)) == Order()


@pytest.mark.parametrize("kind", ["conv2d", "conv2d_input"])
@pytest.mark.parametrize(
    ("images", "rows", "called"), [(1, 50, True), (3, 5, True), (3, 50, False), (2, 1, True)]
)
def test_windows_of_one_element_are_matrix_products(
    kind: str, images: int, rows: int, called: bool
) -> None:
    """One image, or few rows: the same bits as the version for any sizes."""
    channels, filters = (70, rows) if kind == "conv2d" else (rows, 70)
    case = layer((images, channels, 14, 15), filters, (1, 1))
    arrays, make = problem(kind, case, "float32")
    exact = check(make, arrays, shapes="exact")
    np.testing.assert_array_equal(exact, check(make, arrays, shapes="generic"))
    inputs = [sg.tensor(name, v.shape, "float32") for name, v in zip("ab", arrays, strict=True)]
    f = sg.function(inputs, make(*inputs))
    f(*arrays)
    assert ("gemm.float32" in f.explain()) is called
    turned = np.ascontiguousarray(arrays[0].transpose(0, 1, 3, 2))  # its planes are not whole
    a, b = sg.tensor("a", turned.shape, "float32"), inputs[1]
    across = sg.function([a, b], make(a.transpose(0, 1, 3, 2), b))
    np.testing.assert_array_equal(across(turned, arrays[1]), exact)
    assert "gemm.float32" not in across.explain()


def test_places_that_meet_nothing_are_no_parts() -> None:
    """Padding wider than the window: all terms are zeros there, which are multiplied as before."""
    case = layer((16, 64, 7, 7), 64, (3, 3), padding=((4, 1), (1, 1)))
    arrays, make = problem("conv2d", case, "float32")
    node = make(*(sg.tensor("v", a.shape, "float32") for a in arrays))
    assert all(not one.cut[0] for one in orders_of(node))
    assert order_of(node).cut == (False, True)
    found = check(make, arrays, shapes="exact")
    np.testing.assert_array_equal(found, check(make, arrays, shapes="generic"))
    assert not found[:, :, 0].any()


@pytest.mark.parametrize(("size", "plane"), [(28, 33 * 32), (27, 31 * 31), (60, 65 * 64)])
def test_padded_channels_do_not_share_lines_of_the_caches(
    size: int, plane: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels a multiple of 2048 bytes apart get another row of zeros between them."""
    monkeypatch.setattr(convolution, "order_of", lambda node: in_order(node, 0))
    case = layer((2, 3, size, size), 4, (5, 5), padding=((2, 2), (2, 2)))
    arrays, make = problem("conv2d", case, "float32")
    a, b = (sg.tensor(name, v.shape, "float32") for name, v in zip("ab", arrays, strict=True))
    assert f"{plane}*" in sg.function([a, b], make(a, b)).explain("loops")
    check(make, arrays)


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (4, 1), (5, 1), (3, 2), (3, 3)])
def test_gradients_of_depthwise_images_store_whole_rows(
    kernel: int, dilation: int, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stride of two, two neighbours are sums over different elements of a window."""
    other = jit.target(cpu=cpu)
    if other.vector_bytes > jit.target().vector_bytes:
        pytest.skip(f"this machine does not run code for {cpu}")
    monkeypatch.setattr(jit, "target", lambda: other)
    free = [sg.tensor(name, (None,) * 4, "float32") for name in "ab"]
    pads = ((1, 2), (kernel // 2, (kernel - 1) // 2))
    geometry = {"stride": (1, 2), "dilation": (1, dilation), "padding": pads, "groups": 3}
    for width in (kernel * dilation, 14, 15, 16, 31, 33, 56, 66, 77):
        case = layer((2, 3, 5, width), 6, (3, kernel), **geometry)
        arrays, make = problem("conv2d_input", case, "float32")
        exact = check(make, arrays)
        generic = sg.function(free, make(*free), shapes="generic")(*arrays)
        np.testing.assert_array_equal(exact, generic)
        a, b = (sg.tensor(name, v.shape, "float32") for name, v in zip("ab", arrays, strict=True))
        f = sg.function([a, b], make(a, b))
        whole = np.full((exact.size + 64,), 77, "float32")
        f(*arrays, out=whole[: exact.size].reshape(exact.shape))
        np.testing.assert_array_equal(whole[: exact.size], exact.ravel())
        assert (whole[exact.size :] == 77).all(), width


def test_places_that_alternate_are_stored_together() -> None:
    """One nest for each two phases of a row, and one for the column that an odd width leaves."""
    for width, nests in ((8, 2), (9, 4)):
        case = layer((2, 3, 8, width), 3, (3, 3), stride=(2, 2), padding=((1, 1),) * 2, groups=3)
        arrays, make = problem("conv2d_input", case, "float32")
        a, b = (sg.tensor(name, v.shape, "float32") for name, v in zip("ab", arrays, strict=True))
        loops = sg.function([a, b], make(a, b)).explain("loops").split("for ")
        assert sum("out0[" in nest for nest in loops) == nests


def test_sums_of_depthwise_gradients_are_short() -> None:
    """However many channels there are: results are stored where they belong, not channels first."""
    case = layer((2, 300, 7, 7), 300, (3, 3), padding=((1, 1), (1, 1)), groups=300)
    arrays, make = problem("conv2d_input", case, "float32")
    a, b = (sg.tensor(name, v.shape, "float32") for name, v in zip("ab", arrays, strict=True))
    loops = sg.function([a, b], make(a, b)).explain("loops").split("for ")
    assert not any("dot" in nest and "\n    t" in nest for nest in loops)
