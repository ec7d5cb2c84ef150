"""The rows in symgraph."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph as sg
from benchmarks.fft import expressions
from benchmarks.models import (
    SCALE,
    decay_step,
    gru_step,
    kalman_step,
    linear_prefix,
    network_loss,
)
from benchmarks.peers.nets_symgraph import KINDS
from benchmarks.program import STEPS, Program
from benchmarks.recurrences import RECURRENCES
from benchmarks.rows import RATE, Data, Row
from benchmarks.simulations import END, adaptive, langevin, log_density, runge_kutta, signs

MAKERS = (sg.scalar, sg.vector, sg.matrix, sg.tensor3, sg.tensor4)


def start(threads: int) -> None:
    """Let functions run on `threads` threads."""
    sg.set_threads(threads)


def versions() -> dict[str, str]:
    """Return what was measured."""
    return {"symgraph": sg.__version__}


def chain(x: Any, y: Any) -> Any:
    t = sg.tanh(x * y + 1)
    return sg.log1p(sg.exp(-(t * t))) * x - y * 0.5


def layernorm(x: Any, g: Any, b: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / sg.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * g + b


EXPRESSIONS = {
    "add1": lambda x: x + 1,
    "chain": chain,
    "softmax": lambda x: sg.softmax(x, -1),
    "layernorm": layernorm,
    "logsumexp": lambda x: sg.logsumexp(x, -1),
    "sum_all": lambda x: x.sum(),
    "sum_ax0": lambda x: x.sum(0),
    "sum_ax1": lambda x: x.sum(1),
    "max_ax1": lambda x: x.max(1),
    "argmax_ax1": lambda x: x.argmax(1),
    "var_ax1": lambda x: x.var(1),
    "outer_add": lambda x, y: x[:, None] + y,
    "transpose": lambda x: x.T,
    "matmul": lambda x, y: x @ y,
    "bias_relu": lambda x, w, b: sg.relu(x @ w + b),
    "tanh_sum": lambda x, y: sg.tanh(x * y + 1).sum(),
    "second_sum": lambda x, y: sg.tanh(x - y * 2).sum(),
}


def batchnorm(x: Any, g: Any, b: Any) -> Any:
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / sg.sqrt(var + 1e-5) * g[:, None, None] + b[:, None, None]


def _pulled(f: Any, count: int) -> Any:
    """Return the gradients of the first `count` arguments; the last one is that of the result."""
    return lambda *a: sg.grad((f(*a[:-1]) * a[-1]).sum(), list(a[:count]))


EXPRESSIONS |= {
    "gelu": lambda x: x * (1 + sg.erf(x * 0.5**0.5)) * 0.5,
    "log_softmax": lambda x: sg.log_softmax(x, -1),
    "rmsnorm": lambda x, g: x / sg.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * g,
    "softmax_grad": _pulled(lambda x: sg.softmax(x, -1), 1),
    "layernorm_grad": _pulled(layernorm, 3),
    "batchnorm": batchnorm,
    "sqdiff": lambda x, y: ((x - y) ** 2).sum(),
    "sum_strided": lambda x: x[::2, ::2].sum(),
    "cumsum": lambda x: sg.cumsum(x, 1),
    "transpose_add": lambda x: x + x.T,
    "concatenate": lambda *a: sg.concatenate(a, 1),
    "gather": lambda x, i: x[i],
    "scatter_add": lambda x, y, i: sg.inc_subtensor(x[i], y),
    "jacobian": lambda x, w: sg.jacobian(sg.tanh(x @ w), x),
}


def convolution(row: Row) -> Any:
    """Return the function of a convolution row."""
    stride, padding, groups = row.window

    def conv(x: Any, w: Any) -> Any:
        return sg.conv2d(x, w, stride=stride, padding=padding, groups=groups)

    wanted = {"conv_dx": 0, "conv_dw": 1}.get(row.kind)
    if wanted is None:
        return conv
    return lambda x, w, y: sg.grad((conv(x, w) * y).sum(), (x, w)[wanted])


def kalman(z: Any) -> list[Any]:
    return sg.scan(kalman_step, z, [np.float32(0), np.float32(1)])


def decay(x: Any, h: Any) -> Any:
    return sg.scan(lambda row, state: decay_step(sg, row, state), x, h)


def gru(x: Any, h: Any, w: Any, u: Any, b: Any) -> Any:
    return sg.scan(lambda row, state: gru_step(sg, row, state, w, u, b), x, h)


def linear(a: Any, x: Any) -> Any:
    return sg.associative_scan(linear_prefix, (SCALE * a, x))[1]


def _summed(states: Any) -> Any:
    return (states * states).sum()


def per_example(p: Any, x: Any, y: Any) -> Any:
    return sg.vmap(lambda a, b: sg.grad(network_loss(sg, p, a[None], b[None]), p))(x, y)


def rk4(y: Any) -> Any:
    start = [np.float32(0), y]
    step = lambda t, y: runge_kutta(sg, t, y)
    return sg.while_loop(lambda t, y: t < END, step, start)[1]


def ode_adaptive(y: Any) -> Any:
    start = [np.float32(0), np.float32(0.01), y]
    step = lambda t, h, y: adaptive(sg, t, h, y)
    return sg.while_loop(lambda t, h, y: t < END, step, start)[2]


def mala(x: Any, label: Any, noise: Any, dice: Any) -> list[Any]:
    sign = signs(sg, label)

    def both(w: Any) -> tuple[Any, Any]:
        value = log_density(sg, x, sign, w)
        return value, sg.grad(value, w)

    def step(noise: Any, dice: Any, *state: Any) -> list[Any]:
        return list(langevin(sg, both, state, noise, dice))

    zero = sg.zeros((x.shape[1],), x.dtype)
    chain = sg.scan(step, [noise, dice], [zero, *both(zero), None])
    return [chain[0].mean(0), chain[3].mean()]


EXPRESSIONS |= expressions(sg.fft)
EXPRESSIONS |= {"rk4": rk4, "adaptive": ode_adaptive, "mala": mala}
EXPRESSIONS |= {
    "kalman": kalman,
    "kalman_grad": lambda z: sg.grad(_summed(kalman(z)[0]), z),
    "decay": decay,
    "decay_grad": lambda *a: sg.grad(_summed(decay(*a)), list(a)),
    "gru": gru,
    "gru_grad": lambda *a: sg.grad(_summed(gru(*a)), list(a)),
    "linear": linear,
    "linear_grad": lambda *a: sg.grad(_summed(linear(*a)), list(a)),
    "hessian": lambda p, x, y: sg.hessian(network_loss(sg, p, x, y), p),
    "per_example": per_example,
}


def forward(row: Row, params: list[Any], x: Any, activation: Any) -> Any:
    """Return the logits of the network of a row."""
    rest = iter(params)
    for layer in row.net:
        if layer[0] == "pool":
            x = sg.max_pool2d(x, layer[1])
            continue
        w, b = next(rest), next(rest)
        if layer[0] == "conv":
            x = activation(sg.conv2d(x, w, padding=layer[3]) + b[:, None, None])
        else:
            x = (x.reshape((row.batch, -1)) if x.ndim > 2 else x) @ w + b
            x = x if layer is row.net[-1] else activation(x)
    return x


def train(row: Row, data: Data) -> Program:
    """One step of gradient descent; parameters live in shared variables."""
    x, t = MAKERS[data.inputs[0].ndim]("x"), sg.lvector("t")
    params = [sg.shared(p, f"p{i}") for i, p in enumerate(data.params)]
    loss = sg.cross_entropy(forward(row, params, x, sg.relu), t).mean()
    steps = zip(params, sg.grad(loss, params), strict=True)
    f = sg.function([x, t], loss, updates={p: p - RATE * g for p, g in steps})
    values = (data.inputs[0], data.labels)
    names = {"f": f, "x": values[0], "t": values[1]}
    return Program("f(x, t)", names, lambda: [np.array(f(*values)) for _ in range(STEPS)])


def hvp(row: Row, data: Data) -> Program:
    """The Hessian of the loss times a direction."""
    x, t = MAKERS[data.inputs[0].ndim]("x"), sg.lvector("t")
    params = [sg.shared(p, f"p{i}") for i, p in enumerate(data.params)]
    direction = [sg.shared(v, f"v{i}") for i, v in enumerate(data.direction)]
    loss = sg.cross_entropy(forward(row, params, x, sg.tanh), t).mean()
    f = sg.function([x, t], sg.hvp(loss, params, direction))
    values = (data.inputs[0], data.labels)
    return Program("f(x, t)", {"f": f, "x": values[0], "t": values[1]}, lambda: f(*values))


def _looped(step: Any, x: Any, starts: Any, fixed: Any) -> Any:
    found = sg.scan(lambda row, *states: list(step(row, *states, *fixed)), x, list(starts))
    return found[0] if isinstance(found, list) else found


def recurrence(row: Row) -> Any:
    """Return the function of a row of the sweep over loops."""
    made, width = RECURRENCES[row.kind], row.shapes[0][1]

    def states(*a: Any) -> Any:
        return made.states_of(sg, _looped, width, a)

    if "_grad." not in row.name:
        return states
    return lambda *a: sg.grad(_summed(states(*a)), list(a))


def build(row: Row, data: Data) -> Program | None:
    """Return the program of a row."""
    if row.model and data.net:
        return KINDS[row.kind](row.model, data.net)
    if row.net:
        return {"train": train, "hvp": hvp}[row.kind](row, data)
    if row.group in ("higher", "fft"):  # these need to know their sizes
        inputs = [sg.tensor(f"x{i}", a.shape, row.dtype) for i, a in enumerate(data.inputs)]
    else:
        inputs = [sg.tensor(f"x{i}", (None,) * a.ndim, a.dtype) for i, a in enumerate(data.inputs)]
    special = {"conv": convolution, "loop": recurrence}.get(row.group)
    expression = special(row) if special else EXPRESSIONS[row.kind]
    f = sg.function(inputs, expression(*inputs), on_unused_input="ignore")
    names = {f"x{i}": a for i, a in enumerate(data.inputs)}
    return Program(f"f({', '.join(names)})", {"f": f, **names}, lambda: _listed(f(*data.inputs)))


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]
