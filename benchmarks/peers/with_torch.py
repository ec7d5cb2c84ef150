"""The rows in torch, eager; `forward` and `EXPRESSIONS` serve torch.compile too."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as nnf

from benchmarks.fft import expressions
from benchmarks.models import decay_step, gru_step, kalman_step, network_loss
from benchmarks.peers.nets_torch import KINDS
from benchmarks.program import STEPS, Program
from benchmarks.rows import RATE, Data, Row
from benchmarks.simulations import END, adaptive, langevin, log_density, runge_kutta, signs


def start(threads: int) -> None:
    """Let operations run on `threads` threads."""
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)


def versions() -> dict[str, str]:
    """Return what was measured."""
    return {"torch": torch.__version__}


def chain(x: Any, y: Any) -> Any:
    t = torch.tanh(x * y + 1)
    return torch.log1p(torch.exp(-(t * t))) * x - y * 0.5


EXPRESSIONS = {
    "add1": lambda x: x + 1,
    "chain": chain,
    "softmax": lambda x: torch.softmax(x, -1),
    "layernorm": lambda x, g, b: nnf.layer_norm(x, (x.shape[-1],), g, b, 1e-5),
    "logsumexp": lambda x: torch.logsumexp(x, -1),
    "sum_all": lambda x: x.sum(),
    "sum_ax0": lambda x: x.sum(0),
    "sum_ax1": lambda x: x.sum(1),
    "max_ax1": lambda x: torch.amax(x, 1),
    "argmax_ax1": lambda x: x.argmax(1),
    "var_ax1": lambda x: x.var(1, correction=0),
    "outer_add": lambda x, y: x[:, None] + y,
    "transpose": lambda x: x.T.contiguous(),
    "matmul": lambda x, y: x @ y,
    "bias_relu": lambda x, w, b: torch.addmm(b, x, w).relu_(),
    "tanh_sum": lambda x, y: torch.tanh(x * y + 1).sum(),
    "second_sum": lambda x, y: torch.tanh(x - y * 2).sum(),
}


def _pulled(f: Any, count: int) -> Any:
    """Return the gradients of the first `count` arguments; the last one is that of the result."""

    def gradients(*a: Any) -> Any:
        inputs = [v.detach().requires_grad_() for v in a[:count]]
        return torch.autograd.grad(f(*inputs, *a[count:-1]), inputs, a[-1])

    return gradients


EXPRESSIONS |= {
    "gelu": nnf.gelu,
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "rmsnorm": lambda x, g: nnf.rms_norm(x, (x.shape[-1],), g, 1e-5),
    "softmax_grad": _pulled(lambda x: torch.softmax(x, -1), 1),
    "layernorm_grad": _pulled(
        lambda x, g, b: nnf.layer_norm(x, (x.shape[-1],), g, b, 1e-5), 3
    ),
    "batchnorm": lambda x, g, b: nnf.batch_norm(x, None, None, g, b, True, 0.0, 1e-5),
    "sqdiff": lambda x, y: ((x - y) ** 2).sum(),
    "sum_strided": lambda x: x[::2, ::2].sum(),
    "cumsum": lambda x: torch.cumsum(x, 1),
    "transpose_add": lambda x: x + x.T,
    "concatenate": lambda *a: torch.cat(a, 1),
    "gather": lambda x, i: x[i],
    "scatter_add": lambda x, y, i: torch.index_add(x, 0, i, y),
    "jacobian": lambda x, w: torch.func.jacrev(lambda v: torch.tanh(v @ w))(x),
}


def convolution(row: Row) -> Any:
    """Return the function of a convolution row."""
    stride, padding, groups = row.window
    if row.kind == "conv":
        return lambda x, w: nnf.conv2d(x, w, None, stride, padding, 1, groups)
    mask = (row.kind == "conv_dx", row.kind == "conv_dw", False)
    pads, strides = (padding, padding), (stride, stride)

    def gradient(x: Any, w: Any, y: Any) -> Any:
        found = torch.ops.aten.convolution_backward(
            y, x, w, None, strides, pads, (1, 1), False, (0, 0), groups, mask
        )
        return found[0] if mask[0] else found[1]

    return gradient


def _scanned(step: Any, x: Any, h: Any) -> Any:
    states = []
    for row in x:
        h = step(row, h)
        states.append(h)
    return torch.stack(states)


def kalman(z: Any) -> list[Any]:
    mean, variance = torch.tensor(0.0), torch.tensor(1.0)
    found: list[list[Any]] = [[], []]
    for x in z:
        mean, variance = kalman_step(x, mean, variance)
        found[0].append(mean)
        found[1].append(variance)
    return [torch.stack(f) for f in found]


def decay(x: Any, h: Any) -> Any:
    return _scanned(lambda row, state: decay_step(torch, row, state), x, h)


def gru(x: Any, h: Any, w: Any, u: Any, b: Any) -> Any:
    return _scanned(lambda row, state: gru_step(torch, row, state, w, u, b), x, h)


def _gradient(f: Any) -> Any:
    def gradient(*a: Any) -> Any:
        inputs = [v.detach().requires_grad_() for v in a]
        states = f(*inputs)
        return torch.autograd.grad((states * states).sum(), inputs)

    return gradient


def _loss(p: Any, x: Any, y: Any) -> Any:
    return network_loss(torch, p, x, y)


class _Simulation:
    where, stack, sqrt, softplus = torch.where, torch.stack, torch.sqrt, nnf.softplus
    maximum = staticmethod(lambda a, b: torch.clamp(a, min=b))
    minimum = staticmethod(lambda a, b: torch.clamp(a, max=b))


def rk4(y: Any) -> Any:
    t = torch.tensor(0.0)
    while t < END:
        t, y = runge_kutta(_Simulation, t, y)
    return y


def ode_adaptive(y: Any) -> Any:
    t, h = torch.tensor(0.0), torch.tensor(0.01)
    while t < END:
        t, h, y = adaptive(_Simulation, t, h, y)
    return y


def mala(x: Any, label: Any, noise: Any, dice: Any) -> list[Any]:
    sign = signs(_Simulation, label)

    def both(w: Any) -> tuple[Any, Any]:
        w = w.detach().requires_grad_()
        value = log_density(_Simulation, x, sign, w)
        return value.detach(), torch.autograd.grad(value, w)[0]

    w = torch.zeros(x.shape[1])
    state, chain, accepted = (w, *both(w)), [], []
    for row, two in zip(noise, dice, strict=True):
        *new, good = langevin(_Simulation, both, state, row, two)
        state = tuple(new)
        chain.append(state[0])
        accepted.append(good)
    return [torch.stack(chain).mean(0), torch.stack(accepted).mean()]


EXPRESSIONS |= expressions(torch.fft)
EXPRESSIONS |= {"rk4": rk4, "adaptive": ode_adaptive, "mala": mala}
EXPRESSIONS |= {
    "kalman": kalman,
    "kalman_grad": _gradient(lambda z: kalman(z)[0]),
    "decay": decay,
    "decay_grad": _gradient(decay),
    "gru": gru,
    "gru_grad": _gradient(gru),
    "hessian": torch.func.hessian(_loss),
    "per_example": lambda p, x, y: torch.func.vmap(
        lambda a, b: torch.func.grad(_loss)(p, a[None], b[None])
    )(x, y),
}


def forward(row: Row, params: Any, x: Any, activation: Any) -> Any:
    """Return the logits of the network of a row."""
    rest = iter(params)
    for layer in row.net:
        if layer[0] == "pool":
            x = nnf.max_pool2d(x, layer[1])
            continue
        w, b = next(rest), next(rest)
        if layer[0] == "conv":
            x = activation(nnf.conv2d(x, w, b, padding=layer[3]))
        else:
            x = torch.addmm(b, x.reshape(row.batch, -1) if x.ndim > 2 else x, w)
            x = x if layer is row.net[-1] else activation(x)
    return x


def tensors(arrays: Any) -> list[Any]:
    """Return copies of arrays as tensors."""
    return [torch.tensor(a) for a in arrays]


def train(row: Row, data: Data) -> Program:
    """One step of gradient descent, the update as one call over all parameters."""
    x, t = torch.tensor(data.inputs[0]), torch.tensor(data.labels)
    params = [p.requires_grad_() for p in tensors(data.params)]

    def step() -> Any:
        loss = nnf.cross_entropy(forward(row, params, x, torch.relu), t)
        grads = torch.autograd.grad(loss, params)
        with torch.no_grad():
            torch._foreach_add_(params, grads, alpha=-RATE)
        return loss

    return Program("step()", {"step": step}, lambda: [step().detach() for _ in range(STEPS)])


def hvp(row: Row, data: Data) -> Program:
    """The Hessian of the loss times a direction, by a second backward pass."""
    x, t = torch.tensor(data.inputs[0]), torch.tensor(data.labels)
    params = [p.requires_grad_() for p in tensors(data.params)]
    direction = tensors(data.direction)

    def product() -> Any:
        loss = nnf.cross_entropy(forward(row, params, x, torch.tanh), t)
        grads = torch.autograd.grad(loss, params, create_graph=True)
        return torch.autograd.grad(grads, params, direction)

    return Program("f()", {"f": product}, product)


def build(row: Row, data: Data) -> Program | None:
    """Return the program of a row, or None where eager torch has nothing to start or to run."""
    if row.start in ("cold", "warm"):
        return None
    if row.model and data.net:
        return KINDS[row.kind](row.model, data.net)
    if not (row.net or row.group == "conv" or row.kind in EXPRESSIONS):
        return None
    if row.net:
        return {"train": train, "hvp": hvp}[row.kind](row, data)
    function = convolution(row) if row.group == "conv" else EXPRESSIONS[row.kind]
    values = tensors(data.inputs)
    return Program("f(*a)", {"f": function, "a": values}, lambda: listed(function(*values)))


def listed(result: Any) -> list[Any]:
    """Return the results as a list."""
    return list(result) if isinstance(result, (list, tuple)) else [result]
