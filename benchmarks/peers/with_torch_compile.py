"""The rows in torch.compile (inductor; needs a C++ compiler)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as nnf

from benchmarks.peers.nets_torch import ggn, step
from benchmarks.peers.with_torch import EXPRESSIONS, forward, listed, start, tensors, versions
from benchmarks.program import STEPS, Program
from benchmarks.rows import RATE, Data, Row

__all__ = ["build", "start", "versions"]
# Loops that it would unroll, and a gradient within the loss, which it does not trace.
NOT_COMPILED = {"lstm", "char_rnn", "physics"}
SAME_AS_EAGER = {"matmul", "transpose"}  # one library call: nothing to compile


def train(row: Row, data: Data) -> Program:
    """One step of gradient descent as one compiled function of the parameters."""
    x, t = torch.tensor(data.inputs[0]), torch.tensor(data.labels)

    def cost(params: Any) -> Any:
        return nnf.cross_entropy(forward(row, params, x, torch.relu), t)

    def update(params: Any) -> Any:
        grads, loss = torch.func.grad_and_value(cost)(params)
        return loss, [p - RATE * g for p, g in zip(params, grads, strict=True)]

    compiled = torch.compile(update, dynamic=False)
    state = {"params": tensors(data.params)}

    def step() -> Any:
        with torch.no_grad():
            loss, state["params"] = compiled(state["params"])
        return loss

    return Program("step()", {"step": step}, lambda: [step() for _ in range(STEPS)])


def hvp(row: Row, data: Data) -> Program:
    """The Hessian of the loss times a direction, forward over reverse, compiled."""
    x, t = torch.tensor(data.inputs[0]), torch.tensor(data.labels)

    def cost(*params: Any) -> Any:
        return nnf.cross_entropy(forward(row, params, x, torch.tanh), t)

    gradient = torch.func.grad(cost, argnums=tuple(range(len(data.params))))
    params, direction = tuple(tensors(data.params)), tuple(tensors(data.direction))
    compiled = torch.compile(lambda p, v: torch.func.jvp(gradient, p, v)[1], dynamic=False)
    names = {"f": compiled, "p": params, "v": direction}
    return Program("f(p, v)", names, lambda: compiled(params, direction))


def model(row: Row, data: Data) -> Program | None:
    """Return the program of a whole model; the optimiser is the fused one, as in eager torch."""
    assert row.model is not None and data.net is not None
    built = {"step": step, "ggn": ggn}.get(row.kind)
    if built is None or row.model.loss in NOT_COMPILED:
        return None
    return built(row.model, data.net, lambda f: torch.compile(f, dynamic=False))


def build(row: Row, data: Data) -> Program | None:
    """Return the program of a row, or None where there is nothing to compile."""
    if row.model:
        return model(row, data)
    single = row.kind in SAME_AS_EAGER or row.group in ("fft", "conv")  # one call of a library
    if single or row.group == "scan":  # it would unroll the steps
        return None
    if not row.net and row.kind not in EXPRESSIONS:
        return None
    if row.net:
        return {"train": train, "hvp": hvp}[row.kind](row, data)
    compiled = torch.compile(EXPRESSIONS[row.kind], dynamic=False)
    values = tensors(data.inputs)
    return Program("f(*a)", {"f": compiled, "a": values}, lambda: listed(compiled(*values)))
