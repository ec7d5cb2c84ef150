"""The rows in PyTensor, through numba. It has no convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.io import In

from benchmarks.models import decay_step, gru_step, kalman_step
from benchmarks.program import STEPS, Program
from benchmarks.recurrences import RECURRENCES
from benchmarks.rows import RATE, Data, Row


def start(threads: int) -> None:
    """Do nothing: the environment has said how many threads BLAS may use."""


def versions() -> dict[str, str]:
    """Return what was measured."""
    return {"pytensor": pytensor.__version__}


def chain(x: Any, y: Any) -> Any:
    t = pt.tanh(x * y + 1)
    return pt.log1p(pt.exp(-(t * t))) * x - y * np.float32(0.5)


def layernorm(x: Any, g: Any, b: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    spread = pt.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-5))
    return centred / spread * g + b


EXPRESSIONS = {
    "add1": lambda x: x + 1,
    "chain": chain,
    "softmax": lambda x: pt.special.softmax(x, axis=-1),
    "layernorm": layernorm,
    "logsumexp": lambda x: pt.logsumexp(x, axis=-1),
    "sum_all": lambda x: x.sum(),
    "sum_ax0": lambda x: x.sum(0),
    "sum_ax1": lambda x: x.sum(1),
    "max_ax1": lambda x: x.max(1),
    "argmax_ax1": lambda x: x.argmax(1),
    "var_ax1": lambda x: x.var(1),
    "outer_add": lambda x, y: x[:, None] + y,
    "matmul": pt.matmul,
    "bias_relu": lambda x, w, b: pt.maximum(x @ w + b, 0),
    "tanh_sum": lambda x, y: pt.tanh(x * y + 1).sum(),
    "second_sum": lambda x, y: pt.tanh(x - y * 2).sum(),
}


def kalman(z: Any) -> Any:
    start = [pt.constant(np.float32(0)), pt.constant(np.float32(1))]
    return _scan(lambda x, m, v: list(kalman_step(x, m, v)), [z], start)


def decay(x: Any, h: Any) -> Any:
    return _scan(lambda row, state: decay_step(_Names, row, state), [x], [h])


def gru(x: Any, h: Any, w: Any, u: Any, b: Any) -> Any:
    def step(row: Any, state: Any, *weights: Any) -> Any:
        return gru_step(_Names, row, state, *weights)

    return _scan(step, [x], [h], [w, u, b])


class _Names:
    tanh, sigmoid = staticmethod(pt.tanh), staticmethod(pt.sigmoid)


def _scan(step: Any, sequences: Any, start: Any, fixed: Any = ()) -> Any:
    return pytensor.scan(
        step,
        sequences=sequences,
        outputs_info=start,
        non_sequences=list(fixed),
        return_updates=False,
    )


def _gradient(states: Any, inputs: Any) -> Any:
    return pt.grad((states * states).sum(), list(inputs))


EXPRESSIONS |= {
    "kalman": kalman,
    "kalman_grad": lambda z: _gradient(kalman(z)[0], [z]),
    "decay": decay,
    "decay_grad": lambda *a: _gradient(decay(*a), a),
    "gru": gru,
    "gru_grad": lambda *a: _gradient(gru(*a), a),
}


def cost(row: Row, params: list[Any], x: Any, t: Any, activation: Any) -> Any:
    """Return the mean cross-entropy of a network of dense layers."""
    for i in range(0, len(params), 2):
        x = x @ params[i] + params[i + 1]
        x = activation(x) if i + 2 < len(params) else x
    logp = pt.special.log_softmax(x, axis=-1)
    return -logp[pt.arange(row.batch), t].mean()


def _variables(data: Data) -> tuple[Any, Any, list[Any]]:
    params = [pytensor.shared(p, name=f"p{i}") for i, p in enumerate(data.params)]
    return pt.matrix("x", dtype="float32"), pt.lvector("t"), params


def train(row: Row, data: Data) -> Program:
    """One step of gradient descent; parameters live in shared variables."""
    x, t, params = _variables(data)
    loss = cost(row, params, x, t, lambda h: pt.maximum(h, np.float32(0)))
    steps = zip(params, pt.grad(loss, params), strict=True)
    updates = [(p, p - np.float32(RATE) * g) for p, g in steps]
    f = pytensor.function([x, t], loss, updates=updates, trust_input=True)
    names = {"f": f, "x": data.inputs[0], "t": data.labels}
    return Program("f(x, t)", names, lambda: [f(data.inputs[0], data.labels) for _ in range(STEPS)])


def hvp(row: Row, data: Data) -> Program:
    """The Hessian of the loss times a direction, by a second gradient."""
    x, t, params = _variables(data)
    direction = [pytensor.shared(v, name=f"v{i}") for i, v in enumerate(data.direction)]
    grads = pt.grad(cost(row, params, x, t, pt.tanh), params)
    inner = sum((g * v).sum() for g, v in zip(grads, direction, strict=True))
    f = pytensor.function([x, t], pt.grad(inner, params), trust_input=True)
    values = (data.inputs[0], data.labels)
    return Program("f(x, t)", {"f": f, "x": values[0], "t": values[1]}, lambda: f(*values))


def recurrence(row: Row) -> Any:
    """Return the function of a row of the sweep over loops."""
    made, width = RECURRENCES[row.kind], row.shapes[0][1]

    def looped(step: Any, x: Any, starts: Any, fixed: Any) -> Any:
        found = _scan(lambda *a: list(step(*a)), [x], list(starts), fixed)
        return found[0] if isinstance(found, list) else found

    def states(*a: Any) -> Any:
        return made.states_of(_Names, looped, width, a)

    return (lambda *a: _gradient(states(*a), a)) if "_grad." in row.name else states


def build(row: Row, data: Data) -> Program | None:
    """Return the program of a row, or None for a convolution."""
    if row.net:
        dense = all(layer[0] == "fc" for layer in row.net)
        return {"train": train, "hvp": hvp}[row.kind](row, data) if dense else None
    if row.model:
        return None
    expression = recurrence(row) if row.group == "loop" else EXPRESSIONS.get(row.kind)
    if expression is None:
        return None
    types = [pt.TensorType("float32", (None,) * a.ndim) for a in data.inputs]
    inputs = [t(f"x{i}") for i, t in enumerate(types)]
    outputs = expression(*inputs)
    f = pytensor.function([In(i, borrow=True) for i in inputs], outputs, trust_input=True)
    names = {f"x{i}": a for i, a in enumerate(data.inputs)}
    return Program(f"f({', '.join(names)})", {"f": f, **names}, lambda: _listed(f(*data.inputs)))


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]
