"""Complex arguments, results, shared variables, loops and branches of compiled functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.dtype import as_dtype
from symgraph.core.errors import DTypeError
from symgraph.core.node import as_node
from symgraph.core.vectorise import vectorise
from symgraph.ops.together import interleaved
from symgraph.testing.tolerances import mismatch


def numbers(shape: Any, dtype: str = "complex128", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape), dtype)


def agree(actual: Any, expected: Any, relative: float = 1e-13) -> None:
    wrong = mismatch(actual, np.asarray(expected), relative=relative)
    assert wrong is None, wrong


# -- arguments -----------------------------------------------------------------------------------
def _layouts(a: np.ndarray) -> dict[str, np.ndarray]:
    read_only = a.copy()
    read_only.flags.writeable = False
    odd = np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    wide = np.repeat(a, 2, axis=1)
    return {
        "contiguous": a,
        "transposed": np.ascontiguousarray(a.T).T,
        "strided": wide[:, ::2],
        "reversed": np.ascontiguousarray(a[:, ::-1])[:, ::-1],
        "read-only": read_only,
        "byte-swapped": a.astype(a.dtype.newbyteorder()),
        "not aligned": odd,
        "part of complex": np.stack([a, a], -1)[..., 0],
    }


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("layout", list(_layouts(np.ones((2, 2), complex))))
def test_layouts_of_arguments(layout: str, dtype: str) -> None:
    a = numbers((3, 4), dtype)
    z = sg.tensor("z", (None, None), dtype)
    f = sg.function([z], z * 2 + 1)
    for _ in range(2):
        value = f(_layouts(a)[layout])
        assert value.dtype == dtype
        agree(value, a * 2 + 1, 1e-6)


def test_numbers_as_arguments() -> None:
    z = sg.tensor("z", (), "complex128")
    f = sg.function([z], z * z)
    for value in (2 + 1j, 3, 2.5, True, np.float32(2), np.complex64(1j), np.int64(4)):
        result = f(value)
        assert result.dtype == "complex128" and result == complex(value) ** 2


def test_lossy_arguments_are_refused() -> None:
    z, x = sg.tensor("z", (None,), "complex64"), sg.vector("x", dtype="float64")
    f, g = sg.function([z], z + 1), sg.function([x], x + 1)
    with pytest.raises(DTypeError, match="complex128"):
        f(np.ones(2, "complex128"))
    with pytest.raises(DTypeError, match="complex64"):
        g(np.ones(2, "complex64"))
    with pytest.raises(DTypeError):
        g([1j, 2.0])
    assert f([1j, 2.0]).dtype == "complex64"
    loose = sg.function([z], z + 1, allow_input_downcast=True)
    assert loose(np.ones(2, "complex128")).dtype == "complex64"


def test_a_complex_array_never_becomes_a_real_argument() -> None:
    x = sg.vector("x", dtype="float64")
    with pytest.raises(DTypeError, match="imaginary|complex"):
        sg.function([x], x, allow_input_downcast=True)(np.array([1 + 1j]))


def test_out_argument() -> None:
    z = sg.tensor("z", (None,), "complex128")
    f = sg.function([z], z * 1j)
    a, out = numbers(5), np.empty(5, complex)
    assert f(a, out=out) is out
    agree(out, a * 1j)


# -- state ---------------------------------------------------------------------------------------
def test_shared_variable_and_update() -> None:
    a, b = numbers((3, 4)), numbers((3, 4), seed=1)
    w = sg.shared(a, name="w")
    z = sg.tensor("z", (3, 4), "complex128")
    f = sg.function([z], abs(w), updates={w: w * z - 1j})
    agree(f(b), abs(a))
    agree(w.get_value(), a * b - 1j)
    f(b)
    agree(w.get_value(), (a * b - 1j) * b - 1j)
    w.set_value(np.ones((3, 4)))
    assert w.get_value().dtype == "complex128"


def test_updates_that_exchange_values() -> None:
    a, b = numbers(6), numbers(6, seed=1)
    v, w = sg.shared(a), sg.shared(b)
    sg.function([], updates=[(v, w), (w, sg.conj(v[::-1]))])()
    agree(v.get_value(), b)
    agree(w.get_value(), a[::-1].conj())


def test_own_element_read_by_both_parts() -> None:
    """Both parts of the new value need both parts of the old one."""
    w = sg.shared(numbers(1000))
    before = w.get_value()
    sg.function([], updates={w: w * (0.6 + 0.8j)})()
    agree(w.get_value(), before * (0.6 + 0.8j))


def test_other_elements_are_read_before_they_are_stored() -> None:
    w = sg.shared(numbers(1000))
    before = w.get_value()
    sg.function([], updates={w: w + 1j * w[::-1]})()
    agree(w.get_value(), before + 1j * before[::-1])
    pairs = sg.view_as_real(w)
    crossed = sg.stack([pairs[:, 0], sg.roll(pairs[:, 1], 1, 0)], -1)
    before = w.get_value()
    sg.function([], updates={w: sg.view_as_complex(crossed)})()
    agree(w.get_value(), before.real + 1j * np.roll(before.imag, 1))


def test_default_values_and_own_state() -> None:
    total, z = sg.tensor("total", (), "complex64"), sg.tensor("z", (), "complex64")
    add = sg.function([z, sg.In(total, value=1j, update=total + z)], total)
    assert add(2) == 1j and add(3) == 2 + 1j and add["total"] == 5 + 1j


def test_save_and_load(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    state = {"a": sg.shared(numbers(3, "complex64")), "b": sg.shared(numbers((2, 2))),
             "c": sg.shared(np.ones(2))}  # fmt: skip
    before = {k: v.get_value() for k, v in state.items()}
    sg.save(tmp_path / "state", state)
    loaded = sg.load(tmp_path / "state")
    for name, value in before.items():
        assert loaded[name].dtype == value.dtype
        assert np.array_equal(loaded[name], value)
        state[name].set_value(0 * value)
    sg.load(tmp_path / "state", state)
    assert all(np.array_equal(state[k].get_value(), v) for k, v in before.items())
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "state").stat().st_mode == plain.stat().st_mode  # as readable as others
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain", "state"]


# -- loops, branches, batches --------------------------------------------------------------------
def test_scan_with_a_complex_carry() -> None:
    z, x = sg.tensor("z", (None,), "complex128"), sg.vector("x", dtype="float64")
    states = sg.scan(lambda a, s: s * a + 1j, sequences=z, outputs_info=sg.zeros((), "complex128"))
    a = numbers(9)
    expected, s = [], 0j
    for v in a:
        s = s * v + 1j
        expected.append(s)
    for mode in ("native", "debug", "eager"):
        agree(sg.function([z], states, mode=mode)(a), expected)
    phases = sg.scan(lambda t, s: s * sg.exp(1j * t), sequences=x, outputs_info=1 + 0j)
    b = np.arange(5.0)
    agree(sg.function([x], phases)(b), np.cumprod(np.exp(1j * b)))


def test_complex_numbers_only_inside_of_a_body() -> None:
    x = sg.vector("x", dtype="float64")
    sizes = sg.scan(lambda t: abs(sg.exp(1j * t) + 1), sequences=x)
    b = np.arange(5.0)
    agree(sg.function([x], sizes)(b), abs(np.exp(1j * b) + 1))


def test_what_a_loop_need_not_repeat_is_moved_out() -> None:
    """exp(1j z) of all steps at once: the parts are stacked for a batch of steps."""
    z, w = sg.tensor("z", (None, 3), "complex128"), sg.tensor("w", (3,), "complex128")
    states = sg.scan(
        lambda a, s: s * sg.exp(1j * a) + w, sequences=z, outputs_info=sg.zeros((3,), "complex128")
    )
    cost = sg.sum(sg.abs2(states))
    a, b = numbers((6, 3)), numbers(3, seed=1)
    gradient = sg.grad(cost, z)
    f = sg.function([z, w], [cost, gradient])
    d = numbers((6, 3), seed=2)
    slope = (f(a + 1e-6 * d, b)[0] - f(a - 1e-6 * d, b)[0]) / 2e-6
    assert abs((f(a, b)[1].conj() * d).real.sum() - slope) < 1e-5 * (1 + abs(slope))


def test_stacked_parts_of_a_batch() -> None:
    """The batch rule of the op that joins parts, with one part that is the same for all."""
    re, im = sg.tensor("re", (4, 3), "float64"), sg.tensor("im", (3,), "float64")
    row = sg.tensor("row", (3,), "float64")
    node = interleaved(row, im)
    ((batched, axis),) = vectorise([node], {row: (re, 0)})
    a, b = np.arange(12.0).reshape(4, 3), np.ones(3)
    got = np.moveaxis(sg.function([re, im], batched)(a, b), axis, 0)
    assert np.array_equal(got, np.stack([a, np.broadcast_to(b, a.shape)], -1))


def test_while_loop_of_mandelbrot() -> None:
    c = sg.tensor("c", (), "complex128")
    k, z = sg.while_loop(
        lambda k, z: (sg.abs(z) < 2) & (k < 50),
        lambda k, z: [k + 1, z * z + c],
        [sg.as_tensor(0), sg.zeros((), "complex128")],
    )
    f = sg.function([c], [k, z])
    for point in (0.3 + 0.6j, -1.0 + 0j, 1 + 1j, -0.1 + 0.7j):
        n, w = 0, 0j
        while abs(w) < 2 and n < 50:
            n, w = n + 1, w * w + point
        got = f(point)
        assert int(got[0]) == n
        agree(got[1], w)


def test_cond_on_complex_values() -> None:
    z = sg.tensor("z", (3,), "complex128")
    y = sg.cond(sg.real(z).sum() > 0, lambda: z * 1j, lambda: sg.conj(z))
    f = sg.function([z], y)
    a = numbers(3)
    for v in (a, -a):
        agree(f(v), v * 1j if v.real.sum() > 0 else v.conj())


def test_vmap_over_complex_vectors() -> None:
    z = sg.tensor("z", (None, 3), "complex128")
    a = numbers((4, 3))
    y = sg.vmap(lambda v: sg.vdot(v, v) * sg.exp(v))(z)
    agree(sg.function([z], y)(a), (abs(a) ** 2).sum(1)[:, None] * np.exp(a))


def test_pickle_of_shapes_and_generic_versions() -> None:
    z = sg.tensor("z", (None, None), "complex64")
    f = sg.function([z], (z @ z.T) * 1j, shapes="generic")
    for n, m in ((2, 3), (5, 2), (17, 9)):
        a = numbers((n, m), "complex64")
        agree(f(a), (a @ a.T) * np.complex64(1j), 1e-5)
    assert len(f.versions()) <= 2


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "bfloat16"])
def test_constants_of_one_shape_are_not_confused(dtype: str) -> None:
    """Their stand-ins in memory are as different as they are, while other functions live."""
    kept = []
    kind = as_dtype(dtype).numpy
    for k in range(3):
        values = np.arange(12).reshape(3, 4) + k
        values = (values if dtype == "bfloat16" else values * (1 + 2j)).astype(kind)
        constant = as_node(values)
        view = constant if dtype == "bfloat16" else sg.view_as_real(constant)
        f = sg.function([], view * 2)
        want = values if dtype == "bfloat16" else np.stack([values.real, values.imag], -1)
        np.testing.assert_array_equal(f().astype("float32"), 2 * want.astype("float32"))
        kept.append(f)
