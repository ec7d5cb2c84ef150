"""The rows in JAX, each one jitted function."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.fft import expressions
from benchmarks.models import (
    SCALE,
    decay_step,
    gru_step,
    kalman_step,
    linear_prefix,
    network_loss,
)
from benchmarks.peers.nets_jax import KINDS
from benchmarks.program import STEPS, Program
from benchmarks.recurrences import RECURRENCES
from benchmarks.rows import RATE, Data, Row
from benchmarks.simulations import END, adaptive, langevin, log_density, runge_kutta, signs


def start(threads: int) -> None:
    """Do nothing: XLA takes its thread count from the cores this process may use."""


def versions() -> dict[str, str]:
    """Return what was measured."""
    return {"jax": jax.__version__}


def chain(x: Any, y: Any) -> Any:
    t = jnp.tanh(x * y + 1)
    return jnp.log1p(jnp.exp(-(t * t))) * x - y * 0.5


def layernorm(x: Any, g: Any, b: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * g + b


EXPRESSIONS = {
    "add1": lambda x: x + 1,
    "chain": chain,
    "softmax": lambda x: jax.nn.softmax(x, -1),
    "layernorm": layernorm,
    "logsumexp": lambda x: jax.nn.logsumexp(x, -1),
    "sum_all": lambda x: x.sum(),
    "sum_ax0": lambda x: x.sum(0),
    "sum_ax1": lambda x: x.sum(1),
    "max_ax1": lambda x: x.max(1),
    "argmax_ax1": lambda x: x.argmax(1),
    "var_ax1": lambda x: x.var(1),
    "outer_add": lambda x, y: x[:, None] + y,
    "transpose": lambda x: x.T,
    "matmul": lambda x, y: x @ y,
    "bias_relu": lambda x, w, b: jax.nn.relu(x @ w + b),
    "tanh_sum": lambda x, y: jnp.tanh(x * y + 1).sum(),
    "second_sum": lambda x, y: jnp.tanh(x - y * 2).sum(),
}


def batchnorm(x: Any, g: Any, b: Any) -> Any:
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / jnp.sqrt(var + 1e-5) * g[:, None, None] + b[:, None, None]


def _pulled(f: Any, count: int) -> Any:
    """Return the gradients of the first `count` arguments; the last one is that of the result."""
    return lambda *a: jax.vjp(f, *a[:count])[1](a[-1])


EXPRESSIONS |= {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "log_softmax": lambda x: jax.nn.log_softmax(x, -1),
    "rmsnorm": lambda x, g: x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * g,
    "softmax_grad": _pulled(lambda x: jax.nn.softmax(x, -1), 1),
    "layernorm_grad": _pulled(layernorm, 3),
    "batchnorm": batchnorm,
    "sqdiff": lambda x, y: ((x - y) ** 2).sum(),
    "sum_strided": lambda x: x[::2, ::2].sum(),
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "transpose_add": lambda x: x + x.T,
    "concatenate": lambda *a: jnp.concatenate(a, 1),
    "gather": lambda x, i: x[i],
    "scatter_add": lambda x, y, i: x.at[i].add(y),
    "jacobian": jax.jacrev(lambda x, w: jnp.tanh(x @ w)),
}


def convolution(row: Row) -> Any:
    """Return the function of a convolution row."""
    stride, padding, groups = row.window

    def conv(x: Any, w: Any) -> Any:
        pads, strides = [(padding, padding)] * 2, (stride, stride)
        return jax.lax.conv_general_dilated(x, w, strides, pads, feature_group_count=groups)

    if row.kind == "conv":
        return conv
    if row.kind == "conv_dx":
        return lambda x, w, y: jax.vjp(lambda v: conv(v, w), x)[1](y)[0]
    return lambda x, w, y: jax.vjp(lambda v: conv(x, v), w)[1](y)[0]


class _Names:
    tanh, sigmoid = staticmethod(jnp.tanh), staticmethod(jax.nn.sigmoid)


def kalman(z: Any) -> Any:
    def step(carry: Any, x: Any) -> Any:
        new = kalman_step(x, *carry)
        return new, new

    return jax.lax.scan(step, (jnp.float32(0), jnp.float32(1)), z)[1]


def _scanned(step: Any, x: Any, h: Any) -> Any:
    def both(state: Any, row: Any) -> Any:
        new = step(row, state)
        return new, new

    return jax.lax.scan(both, h, x)[1]


def decay(x: Any, h: Any) -> Any:
    return _scanned(lambda row, state: decay_step(_Names, row, state), x, h)


def gru(x: Any, h: Any, w: Any, u: Any, b: Any) -> Any:
    return _scanned(lambda row, state: gru_step(_Names, row, state, w, u, b), x, h)


def linear(a: Any, x: Any) -> Any:
    return jax.lax.associative_scan(linear_prefix, (SCALE * a, x))[1]


def _summed(states: Any) -> Any:
    return (states * states).sum()


def _loss(p: Any, x: Any, y: Any) -> Any:
    return network_loss(_Names, p, x, y)


class _Simulation(_Names):
    where, minimum, maximum = (staticmethod(f) for f in (jnp.where, jnp.minimum, jnp.maximum))
    sqrt, stack, softplus = (staticmethod(f) for f in (jnp.sqrt, jnp.stack, jax.nn.softplus))


def rk4(y: Any) -> Any:
    step = lambda state: runge_kutta(_Simulation, *state)
    return jax.lax.while_loop(lambda state: state[0] < END, step, (jnp.float32(0), y))[1]


def ode_adaptive(y: Any) -> Any:
    start = (jnp.float32(0), jnp.float32(0.01), y)
    step = lambda state: adaptive(_Simulation, *state)
    return jax.lax.while_loop(lambda state: state[0] < END, step, start)[2]


def mala(x: Any, label: Any, noise: Any, dice: Any) -> Any:
    sign = signs(_Simulation, label)
    both = jax.value_and_grad(lambda w: log_density(_Simulation, x, sign, w))

    def step(state: Any, given: Any) -> Any:
        *new, good = langevin(_Simulation, both, state, *given)
        return tuple(new), (new[0], good)

    zero = jnp.zeros(x.shape[1], x.dtype)
    chain, good = jax.lax.scan(step, (zero, *both(zero)), (noise, dice))[1]
    return chain.mean(0), good.mean()


EXPRESSIONS |= expressions(jnp.fft)
EXPRESSIONS |= {"rk4": rk4, "adaptive": ode_adaptive, "mala": mala}
EXPRESSIONS |= {
    "kalman": kalman,
    "kalman_grad": jax.grad(lambda z: _summed(kalman(z)[0])),
    "decay": decay,
    "decay_grad": jax.grad(lambda *a: _summed(decay(*a)), (0, 1)),
    "gru": gru,
    "gru_grad": jax.grad(lambda *a: _summed(gru(*a)), (0, 1, 2, 3, 4)),
    "linear": linear,
    "linear_grad": jax.grad(lambda *a: _summed(linear(*a)), (0, 1)),
    "hessian": jax.hessian(_loss),
    "per_example": lambda p, x, y: jax.vmap(
        lambda a, b: jax.grad(_loss)(p, a[None], b[None])
    )(x, y),
}


def _pool(x: Any, size: Any) -> Any:
    window = (1, 1, size, size)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


def forward(row: Row, params: Any, x: Any, activation: Any) -> Any:
    """Return the logits of the network of a row."""
    rest = iter(params)
    for layer in row.net:
        if layer[0] == "pool":
            x = _pool(x, layer[1])
            continue
        w, b = next(rest), next(rest)
        if layer[0] == "conv":
            pads = [(layer[3], layer[3])] * 2
            y = jax.lax.conv_general_dilated(x, w, (1, 1), pads)
            x = activation(y + b[:, None, None])
        else:
            x = (x.reshape(row.batch, -1) if x.ndim > 2 else x) @ w + b
            x = x if layer is row.net[-1] else activation(x)
    return x


def cost(row: Row, params: Any, x: Any, t: Any, activation: Any) -> Any:
    """Return the mean cross-entropy."""
    logp = jax.nn.log_softmax(forward(row, params, x, activation))
    return -jnp.take_along_axis(logp, t[:, None], 1).mean()


def train(row: Row, data: Data) -> Program:
    """One step of gradient descent, the old parameters given to XLA for reuse."""
    x, t = jnp.asarray(data.inputs[0]), jnp.asarray(data.labels)

    def update(params: Any, x: Any, t: Any) -> Any:
        loss, grads = jax.value_and_grad(lambda p: cost(row, p, x, t, jax.nn.relu))(params)
        return loss, [p - RATE * g for p, g in zip(params, grads, strict=True)]

    compiled = jax.jit(update, donate_argnums=0)
    state = {"params": [jnp.array(p) for p in data.params]}

    def step() -> Any:
        loss, state["params"] = compiled(state["params"], x, t)
        return loss.block_until_ready()

    return Program("step()", {"step": step}, lambda: [step() for _ in range(STEPS)])


def hvp(row: Row, data: Data) -> Program:
    """The Hessian of the loss times a direction, forward over reverse."""
    x, t = jnp.asarray(data.inputs[0]), jnp.asarray(data.labels)

    def product(params: Any, direction: Any, x: Any, t: Any) -> Any:
        gradient = jax.grad(lambda p: cost(row, p, x, t, jnp.tanh))
        return jax.jvp(gradient, (params,), (direction,))[1]

    values = ([jnp.array(p) for p in data.params], [jnp.array(v) for v in data.direction], x, t)
    f = jax.jit(product)
    names = {"f": f, "a": values, "wait": jax.block_until_ready}
    return Program("wait(f(*a))", names, lambda: f(*values))


def _looped(step: Any, x: Any, starts: Any, fixed: Any) -> Any:
    def both(states: Any, row: Any) -> Any:
        new = step(row, *states, *fixed)
        return tuple(new), new[0]

    return jax.lax.scan(both, tuple(starts), x)[1]


def recurrence(row: Row) -> Any:
    """Return the function of a row of the sweep over loops."""
    made, width = RECURRENCES[row.kind], row.shapes[0][1]

    def states(*a: Any) -> Any:
        return made.states_of(_Names, _looped, width, a)

    if "_grad." not in row.name:
        return states
    return jax.grad(lambda *a: _summed(states(*a)), tuple(range(len(row.shapes))))


def build(row: Row, data: Data) -> Program | None:
    """Return the program of a row, or None for float64."""
    if row.model and data.net:
        return KINDS[row.kind](row.model, data.net)
    if row.net:
        return {"train": train, "hvp": hvp}[row.kind](row, data)
    if row.dtype in ("float64", "complex128"):  # jax would round the inputs to half the width
        return None
    special = {"conv": convolution, "loop": recurrence}.get(row.group)
    function = special(row) if special else EXPRESSIONS[row.kind]
    f, values = jax.jit(function), [jnp.array(a) for a in data.inputs]
    names = {"f": f, "a": values, "wait": jax.block_until_ready}
    return Program("wait(f(*a))", names, lambda: jax.tree_util.tree_leaves(f(*values)))
