"""Derivatives with complex numbers: against differences in both parts, torch, and each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import NotDifferentiableError

STEP = 1e-6


def numbers(shape: Any, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))


def rows(z: Any) -> Any:
    return sg.scan(lambda a, s: s * a + 1j, sequences=z[0], outputs_info=1 + 0j)


# functions of a complex matrix z (3, 4) and a real matrix x (3, 4)
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "product": lambda z, x: z * z * x,
    "quotient": lambda z, x: (z + 1) / (z * x + 3j),
    "sqrt": lambda z, x: sg.sqrt(z) + sg.sqrt(sg.complex(x, 1.0)),
    "exp and log": lambda z, x: sg.exp(z) + sg.log(z) * x,
    "exp of ix": lambda z, x: sg.exp(1j * x) * z,
    "exp2, expm1, log1p": lambda z, x: sg.exp2(z) + sg.expm1(z) + sg.log1p(z),
    "log2, log10": lambda z, x: sg.log2(z) + sg.log10(z),
    "trigonometric": lambda z, x: sg.sin(z) + sg.cos(z) * x + sg.tan(z),
    "hyperbolic": lambda z, x: sg.sinh(z) + sg.cosh(z) * x + sg.tanh(z),
    "inverse": lambda z, x: sg.asin(z) + sg.acos(2 * z) + sg.atan(z),
    "inverse hyperbolic": lambda z, x: sg.asinh(z) + sg.acosh(z) + sg.atanh(z),
    "square, reciprocal, neg": lambda z, x: sg.square(z) + sg.reciprocal(z) - z,
    "powers": lambda z, x: z**3 + z**-2 + z**1.5 + z ** (0.5 - 1j),
    "power of both": lambda z, x: z ** sg.complex(x, 0.5),
    "conj": lambda z, x: sg.conj(z) * z * x,
    "abs": lambda z, x: abs(z) * x,
    "abs2": lambda z, x: sg.abs2(z * x),
    "sign": lambda z, x: sg.sign(z) * x,
    "angle": lambda z, x: sg.angle(z * x),
    "real and imag": lambda z, x: sg.real(z) * sg.imag(z * z) + x,
    "polar": lambda z, x: sg.polar(x, sg.real(z)),
    "views": lambda z, x: sg.view_as_complex(sg.view_as_real(z) * 3) * 1j,
    "sum, mean": lambda z, x: z.sum(0) * z.mean(0) * x,
    "var": lambda z, x: (z * x).var(1),
    "prod": lambda z, x: z.prod(1) * x[:, 0],
    "cumsum, cumprod": lambda z, x: z.cumsum(1) + z.cumprod(1) * x,
    "matmul": lambda z, x: (z @ z.T) @ x,
    "where": lambda z, x: sg.where(x > 0, z * z, sg.conj(z)),
    "index": lambda z, x: z[1:, ::-1] * z[np.array([0, 2])] * x[0],
    "join": lambda z, x: sg.concatenate([z * z, x, z]),
    "set": lambda z, x: sg.set_subtensor(z[1], x[1] * z[0]),
    "reshape": lambda z, x: z.T.reshape((3, 4)) * z * x,
    "broadcast": lambda z, x: z[:, :1] * x + z[0],
    "einsum": lambda z, x: sg.einsum("ij,kj->ik", z, sg.conj(z)),
    "norm": lambda z, x: sg.norm(z, axis=1),
    "scan": lambda z, x: rows(z),
    "complex64 inside": lambda z, x: z.astype("complex64").astype("complex128") * 2,
}  # fmt: skip
# differences of a float32 result are coarse
COARSE = {"complex64 inside": 0.2}


def cost(y: Any) -> Any:
    """Return a real number that depends on both parts of y."""
    weights = numbers((3, 4, 5)).ravel()
    size = int(np.prod(y.type.shape)) if y.type.is_static else None
    w = sg.reshape(sg.as_tensor(weights[:size]), y.type.shape)
    return sg.sum(sg.real(y * w)) + sg.sum(sg.abs2(y)) * 0.1


def inputs() -> tuple[Any, Any, dict[Any, np.ndarray]]:
    z, x = sg.tensor("z", (3, 4), "complex128"), sg.tensor("x", (3, 4), "float64")
    rng = np.random.default_rng(5)
    return z, x, {z: numbers((3, 4), 2), x: rng.uniform(0.4, 1.4, (3, 4))}


def values(outputs: list[Any], at: dict[Any, np.ndarray]) -> list[np.ndarray]:
    f = sg.function(list(at), outputs, on_unused_input="ignore")
    return list(f(*at.values()))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_reverse_and_forward_agree_with_differences(name: str) -> None:
    z, x, at = inputs()
    y = FUNCTIONS[name](z, x)
    c = cost(y)
    gz, gx = sg.grad(c, [z, x], disconnected_inputs="ignore")
    assert gz.dtype == "complex128" and gx.dtype == "float64"
    dz, dx = numbers((3, 4), 7), numbers((3, 4), 8).real
    tangent = sg.Rop(y, [z, x], [dz, dx])
    assert tangent.dtype == y.dtype
    f = sg.function([z, x], [c, y, gz, gx, tangent], on_unused_input="ignore")
    _, _, vz, vx, moved = f(*at.values())
    h = STEP
    tolerance = COARSE.get(name, 1e-6)
    (c1, y1, *_), (c0, y0, *_) = (f(at[z] + s * h * dz, at[x] + s * h * dx) for s in (1, -1))
    slope = (c1 - c0) / (2 * h)
    along = float((vz.conj() * dz).real.sum() + (vx * dx).sum())
    assert abs(slope - along) <= tolerance * (1 + abs(slope))
    assert np.abs((y1 - y0) / (2 * h) - moved).max() <= tolerance * (1 + np.abs(moved).max())


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - set(COARSE)))
def test_second_derivatives(name: str) -> None:
    """The derivative of a gradient in both modes, against differences of the gradient."""
    z, x, at = inputs()
    c = cost(FUNCTIONS[name](z, x))
    gz = sg.grad(c, z, disconnected_inputs="ignore")
    u, dz = numbers((3, 4), 11), numbers((3, 4), 12)
    reverse = sg.grad(sg.sum(sg.real(sg.conj(gz) * u)), z, disconnected_inputs="ignore")
    forward = sg.Rop(gz, z, dz)
    f = sg.function([z, x], [gz, reverse, forward], on_unused_input="ignore")
    _, r, m = f(*at.values())
    ends = [f(at[z] + s * STEP * dz, at[x])[0] for s in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * STEP)
    assert np.abs(slope - m).max() <= 1e-5 * (1 + np.abs(m).max())
    over = (slope.conj() * u).real.sum()
    assert abs((r.conj() * dz).real.sum() - over) <= 1e-5 * (1 + abs(over))


@pytest.mark.torch
@pytest.mark.parametrize("name", ["product", "quotient", "exp and log", "abs", "angle", "conj",
                                  "matmul", "sign", "hyperbolic", "prod"])  # fmt: skip
def test_gradients_are_those_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs: dict[str, Callable[[Any, Any], Any]] = {
        "product": lambda z, x: z * z * x,
        "quotient": lambda z, x: (z + 1) / (z * x + 3j),
        "exp and log": lambda z, x: torch.exp(z) + torch.log(z) * x,
        "abs": lambda z, x: torch.abs(z) * x,
        "angle": lambda z, x: torch.angle(z * x),
        "conj": lambda z, x: torch.conj(z) * z * x,
        "matmul": lambda z, x: (z @ z.T) @ x.to(torch.complex128),
        "sign": lambda z, x: torch.sgn(z) * x,
        "hyperbolic": lambda z, x: torch.sinh(z) + torch.cosh(z) * x + torch.tanh(z),
        "prod": lambda z, x: z.prod(1) * x[:, 0],
    }
    z, x, at = inputs()
    y = FUNCTIONS[name](z, x)
    got = values(list(sg.grad(sg.sum(sg.abs2(y)) + sg.sum(sg.real(y)), [z, x])), at)
    tz, tx = (torch.tensor(a, requires_grad=True) for a in at.values())
    ty = theirs[name](tz, tx)
    (ty.abs().square().sum() + torch.real(ty).sum()).backward()
    for mine, other in zip(got, (tz.grad, tx.grad), strict=True):
        assert np.abs(mine - other.numpy()).max() < 1e-10


@pytest.mark.torch
def test_vjp_has_the_convention_of_torch() -> None:
    torch = pytest.importorskip("torch")
    z, x, at = inputs()
    v = numbers((3, 4), 3)
    (got,) = values([sg.vjp(z * z * x, z, v)], at)
    tz = torch.tensor(at[z], requires_grad=True)
    (other,) = torch.autograd.grad(tz * tz * torch.tensor(at[x]), tz, torch.tensor(v))
    assert np.abs(got - other.numpy()).max() < 1e-12


def test_gradient_descends() -> None:
    """w - rate * grad goes down: complex least squares reach the solution."""
    a, solution = numbers((8, 3)), numbers(3, 1)
    w = sg.shared(np.zeros(3, complex))
    loss = sg.sum(sg.abs2(sg.as_tensor(a) @ w - a @ solution))
    step = sg.function([], loss, updates={w: w - 0.02 * sg.grad(loss, w)})
    first = float(step())
    for _ in range(400):
        last = float(step())
    assert last < 1e-6 * first
    assert np.abs(w.get_value() - solution).max() < 1e-3


def test_derivatives_at_zero_are_zero() -> None:
    z = sg.tensor("z", (3,), "complex128")
    for f in (sg.abs, sg.angle, lambda v: sg.real(sg.sign(v))):
        (g,) = values([sg.grad(f(z).sum(), z)], {z: np.array([0j, 1, 1j])})
        assert np.isfinite(g).all() and g[0] == 0


def test_no_nan_through_where() -> None:
    z = sg.tensor("z", (3,), "complex128")
    y = sg.where(sg.ne(z, 0), sg.log(sg.where(sg.ne(z, 0), z, 1)), 0)
    (g,) = values([sg.grad(sg.real(y).sum(), z)], {z: np.array([0j, 1, 1j])})
    assert np.array_equal(g, [0, 1, 1j])
    unguarded = sg.where(sg.ne(z, 0), sg.log(z), 0)
    inside = sg.where(sg.ne(z, 0), sg.real(sg.log(z)), 0)
    for part in (sg.real(unguarded), inside):
        (g,) = values([sg.grad(part.sum(), z)], {z: np.array([0j, 1, 1j])})
        assert np.array_equal(g, [0, 1, 1j])


def test_gradient_of_a_cast_has_the_dtype_of_the_variable() -> None:
    w = sg.tensor("w", (3,), "complex64")
    g = sg.grad(sg.sum(sg.abs2(w.astype("complex128"))), w)
    assert g.dtype == "complex64"
    x = sg.tensor("x", (3,), "float32")
    assert sg.grad(sg.sum(sg.abs2(sg.exp(1j * x))), x).dtype == "float32"
    assert sg.grad((x.astype("float64") ** 2).sum(), x).dtype == "float32"


def test_jacobians() -> None:
    x, z = sg.tensor("x", (3,), "float64"), sg.tensor("z", (3,), "complex128")
    at = np.array([0.3, 1.0, -2.0])
    (j,) = values([sg.jacobian(sg.exp(1j * x), x)], {x: at})
    assert np.abs(j - np.diag(1j * np.exp(1j * at))).max() < 1e-14
    b = numbers(3)
    (j,) = values([sg.jacobian(sg.abs2(z), z)], {z: b})
    assert np.abs(j - np.diag(2 * b)).max() < 1e-14
    with pytest.raises(NotDifferentiableError, match="no single matrix"):
        sg.jacobian(z * z, z)
    with pytest.raises(NotDifferentiableError, match="no single matrix"):
        sg.hessian(sg.abs2(z).sum(), z)


def test_hvp_and_known_gradients() -> None:
    z = sg.tensor("z", (3,), "complex128")
    b, v = numbers(3), numbers(3, 1)
    (h,) = values([sg.hvp(sg.abs2(z * z).sum(), z, v)], {z: b})
    ends = [4 * w * abs(w) ** 2 for w in (b + STEP * v, b - STEP * v)]
    assert np.abs((ends[0] - ends[1]) / (2 * STEP) - h).max() < 1e-6
    y = z * z
    (g,) = values([sg.grad(None, z, known_grads={y: v})], {z: b})
    assert np.abs(g - v * np.conj(2 * b)).max() < 1e-14


def test_own_gradient_rule_has_the_convention_of_grad() -> None:
    square = sg.custom_vjp(lambda z: z * z, lambda ins, outs, gs: [gs[0] * sg.conj(2 * ins[0])])
    z = sg.tensor("z", (3,), "complex128")
    b = numbers(3)
    mine, plain = values(
        [sg.grad(sg.real(f(z) * 1j).sum(), z) for f in (square, lambda v: v * v)], {z: b}
    )
    assert np.abs(mine - plain).max() < 1e-14


def test_vmap_of_a_gradient() -> None:
    z = sg.tensor("z", (None, 3), "complex128")
    a = numbers((4, 3))
    g = sg.vmap(lambda v: sg.grad(sg.abs2(v * v).sum(), v))(z)
    (got,) = values([g], {z: a})
    assert np.abs(got - 4 * a * abs(a) ** 2).max() < 1e-13
