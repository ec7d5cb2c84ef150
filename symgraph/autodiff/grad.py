"""The public derivative functions, compositions of reverse and forward mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.autodiff.modes import accumulate, push
from symgraph.core.body import some_node
from symgraph.core.errors import DisconnectedInputError, NotDifferentiableError, ShapeError
from symgraph.core.node import Node, as_node, describe, new_input
from symgraph.core.op import o
from symgraph.core.source import warn
from symgraph.core.vectorise import vectorise
from symgraph.core.walk import toposort

Wrt = Node | Sequence[Node]


def grad(
    cost: Node | None,
    wrt: Wrt,
    consider_constant: Sequence[Node] | None = None,
    disconnected_inputs: str = "raise",
    known_grads: Mapping[Node, Any] | None = None,
    return_disconnected: str = "zero",
) -> Any:
    """Return the derivative of a scalar `cost` by each variable of `wrt`.

    `wrt` may be any node of the graph; it means every equal expression (equal expressions are one
    node). `known_grads` gives derivatives of some cost with respect to intermediate nodes, in place
    of or in addition to `cost`. `disconnected_inputs` is "raise", "warn" or "ignore" (zeros).

    By a complex z = x + iy the derivative of a (real) cost is dcost/dx + i dcost/dy, the direction
    of steepest ascent, so that z - rate * grad descends; complex `known_grads` are read likewise.

    Returns one node, or a list when `wrt` is a list. Raises `ShapeError` when the cost is not a
    scalar, `DisconnectedInputError`, `NotDifferentiableError`.

    >>> x = sg.scalar("x", dtype="float64")
    >>> float(sg.grad(x**2, x).eval({x: 3.0}))
    6.0
    """
    seeds: list[tuple[Node, Node]] = []
    if cost is not None:
        cost = as_node(cost)
        if cost.ndim != 0:
            raise ShapeError(
                f"the cost of grad must be a scalar; `{describe(cost)}` is {cost.type}.\n"
                f"  made at {cost.source}\n  mend:   take .sum() or .mean(), or use sg.jacobian"
            )
        _require_float(cost)
        seeds.append((cost, o.ones((), cost.dtype)))
    for node, g in (known_grads or {}).items():
        seeds.append((node, o.conj(_like(g, node))))
    if not seeds:
        raise TypeError("grad needs a cost or known_grads")
    single = isinstance(wrt, Node)
    variables = _variables(wrt)
    found = accumulate(seeds, variables, frozenset(consider_constant or ()))
    parts = [None if p is None else o.conj(p) for p in found]
    result = [
        _connected(p, x, disconnected_inputs, return_disconnected, [y for y, _ in seeds])
        for p, x in zip(parts, variables, strict=True)
    ]
    return result[0] if single else result


def _variables(wrt: Wrt) -> list[Node]:
    """Return what to differentiate by as a list; raises TypeError for other things."""
    found: list[Any]
    found = [wrt] if isinstance(wrt, Node) or not hasattr(wrt, "__iter__") else list(wrt)
    for x in found:
        if not isinstance(x, Node):
            raise TypeError(
                f"derivatives are taken by variables, got {x!r}\n"
                "  mend:   wrt=x, or wrt=[x, y], with nodes of the graph"
            )
    return found


def _like(value: Any, x: Node) -> Node:
    """Return a derivative or tangent that the user gives, in the shape and kind of `x`."""
    node = as_node(value, (x.dtype,))
    node = o.cast(node, x.dtype) if x.dtype.is_complex else node
    return o.broadcast_to(node, x.type.shape)


def _require_float(cost: Node) -> None:
    if cost.dtype.is_complex:
        raise NotDifferentiableError(
            f"the cost of grad must be real; `{describe(cost)}` is {cost.type}\n"
            f"  made at {cost.source}\n"
            "  mend:   take sg.real(z), sg.imag(z) or sg.abs(z); sg.jvp has complex derivatives"
        )
    if not cost.dtype.is_float:
        raise NotDifferentiableError(
            f"`{describe(cost)}` is {cost.dtype}; only floats have derivatives"
        )


def _connected(
    part: Node | None, x: Node, policy: str, missing: str, roots: Sequence[Node]
) -> Node | None:
    if part is not None:
        return part
    if policy not in ("raise", "warn", "ignore"):
        raise ValueError(f"disconnected_inputs must be raise, warn or ignore, got {policy!r}")
    if x not in toposort(roots) or x.dtype.is_inexact:
        message = (
            f"the cost does not depend on `{describe(x)}` in a differentiable way "
            f"(made at {x.source}); pass disconnected_inputs='ignore' for zeros"
        )
        if policy == "raise":
            raise DisconnectedInputError(message)
        if policy == "warn":
            warn(message)
    if missing == "none":
        return None
    dtype = x.dtype if x.dtype.is_inexact else None
    return o.zeros(x.type.shape, dtype)


def value_and_grad(cost: Node, wrt: Wrt, **options: Any) -> tuple[Node, Any]:
    """Return (cost, grad(cost, wrt)); both share the forward work when compiled together."""
    return cost, grad(cost, wrt, **options)


def Lop(outputs: Any, wrt: Wrt, eval_points: Any, **options: Any) -> Any:  # noqa: N802
    """Return the vector-Jacobian product: sum_k <eval_points_k, d outputs_k / d wrt>."""
    ys = [outputs] if isinstance(outputs, Node) else list(outputs)
    vs = [eval_points] if not isinstance(eval_points, (list, tuple)) else list(eval_points)
    if len(ys) != len(vs):
        raise ValueError(f"{len(ys)} outputs need as many eval_points, got {len(vs)}")
    known: dict[Node, Any] = {}
    for y, v in zip(ys, vs, strict=True):  # equal expressions are one node: their parts add up
        known[y] = _like(v, y) + known[y] if y in known else _like(v, y)
    return grad(None, wrt, known_grads=known, **options)


def Rop(outputs: Any, wrt: Wrt, eval_points: Any) -> Any:  # noqa: N802
    """Return the Jacobian-vector product, forward mode: d outputs / d wrt times `eval_points`."""
    ys = [outputs] if isinstance(outputs, Node) else list(outputs)
    xs = _variables(wrt)
    vs = [eval_points] if not isinstance(eval_points, (list, tuple)) else list(eval_points)
    if len(xs) != len(vs):
        raise ValueError(f"{len(xs)} variables need as many eval_points, got {len(vs)}")
    tangents: dict[Node, Node | None] = {}
    for x, v in zip(xs, vs, strict=True):
        if x in tangents:
            raise ValueError(
                f"`{describe(x)}` is listed twice in wrt; equal expressions are one variable\n"
                "  mend:   list it once, with the sum of its eval_points"
            )
        tangents[x] = _like(v, x)
    moved = push(ys, tangents)
    result = [o.zeros_like(y) if t is None else t for y, t in zip(ys, moved, strict=True)]
    return result[0] if isinstance(outputs, Node) else result


vjp, jvp = Lop, Rop


def hvp(cost: Node, wrt: Wrt, vectors: Any) -> Any:
    """Return the Hessian of `cost` times `vectors`: forward mode over reverse mode."""
    xs = _variables(wrt)
    gradients = grad(cost, xs, disconnected_inputs="ignore")
    result = Rop(gradients, xs, [vectors] if isinstance(wrt, Node) else list(vectors))
    return result[0] if isinstance(wrt, Node) else result


def ggnvp(cost: Node, outputs: Node, wrt: Wrt, vectors: Any) -> Any:
    """Return the generalised Gauss-Newton matrix times `vectors`: J^T H J v.

    J is the Jacobian of the network `outputs` by `wrt`, H the Hessian of `cost` by `outputs`
    (Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002).
    """
    xs = _variables(wrt)
    vs = [vectors] if isinstance(wrt, Node) else list(vectors)
    moved = Rop(outputs, xs, vs)
    curved = hvp(cost, outputs, moved)
    result = Lop(outputs, xs, curved)
    return result[0] if isinstance(wrt, Node) else result


def jacobian(
    expression: Node, wrt: Wrt, disconnected_inputs: str = "raise", direction: str = "auto"
) -> Any:
    """Return d expression / d wrt of shape expression.shape + wrt.shape.

    All directions are one batch: `direction` "reverse" pulls back one per element of `expression`,
    "forward" pushes one per element of `wrt`, "auto" takes the fewer where sizes are known
    (otherwise reverse). Sizes may be symbolic.

    >>> x = sg.vector("x", dtype="float64")
    >>> sg.jacobian(x**2, x).eval({x: np.array([1.0, 3.0])})
    array([[2., 0.],
           [0., 6.]])
    """
    if direction not in ("auto", "reverse", "forward"):
        raise ValueError(f"direction must be auto, reverse or forward, got {direction!r}")
    xs = _variables(wrt)
    for x in xs if expression.dtype.is_complex else ():
        _refuse_complex(x, "jacobian of complex results")
    reverse = grad(  # also reports what is not connected
        None,
        xs,
        known_grads={expression: o.ones(expression.type.shape, expression.dtype)},
        disconnected_inputs=disconnected_inputs,
        return_disconnected="none",
    )
    result = []
    for x, connected in zip(xs, reverse, strict=True):
        if connected is None:
            result.append(o.zeros((*expression.type.shape, *x.type.shape), expression.dtype))
        elif _forward(expression, x, direction):
            result.append(_pushed_columns(expression, x))
        else:
            result.append(_pulled_rows(expression, x))
    return result[0] if isinstance(wrt, Node) else result


def _refuse_complex(x: Node, what: str) -> None:
    if x.dtype.is_complex:
        raise NotDifferentiableError(
            f"{what} by complex variables is no single matrix; `{describe(x)}` is {x.type}\n"
            "  mend:   make z of real variables, sg.complex(x, y), and take it by x and y; or use "
            "sg.jvp and sg.vjp"
        )


def _forward(y: Node, x: Node, direction: str) -> bool:
    rows, columns = _count(y), _count(x)
    if y.dtype.is_complex:
        return True
    if direction == "auto" and isinstance(rows, int) and isinstance(columns, int):
        return bool(columns < rows)
    return direction == "forward"


def _count(x: Node) -> Any:
    n: Any = 1
    for size in x.type.shape:
        n = n * size
    return n


def _directions(x: Node) -> tuple[Node, dict[Node, tuple[Node, int]]]:
    """Return a variable like `x`, and a batch for it: all arrays with a single one in them."""
    n = _count(x)
    direction = new_input(x.dtype, x.type.shape, "direction")
    basis = o.reshape(o.eye(n, dtype=x.dtype), (n, *x.type.shape))
    return direction, {direction: (basis, 0)}


def _pulled_rows(y: Node, x: Node) -> Node:
    seed, batch = _directions(y)
    pulled = accumulate([(y, seed)], [x])[0]
    assert pulled is not None
    ((rows, axis),) = vectorise([pulled], batch)
    if axis is None:
        rows = o.broadcast_to(rows, (_count(y), *x.type.shape))
    rows = o.conj(o.moveaxis(rows, axis, 0) if axis else rows)
    return o.reshape(rows, (*y.type.shape, *x.type.shape))


def _pushed_columns(y: Node, x: Node) -> Node:
    tangent, batch = _directions(x)
    pushed = push([y], {x: tangent})[0]
    if pushed is None:
        return o.zeros((*y.type.shape, *x.type.shape), y.dtype)
    ((columns, axis),) = vectorise([pushed], batch)
    if axis is None:
        columns, axis = o.broadcast_to(columns, (_count(x), *y.type.shape)), 0
    columns = o.moveaxis(columns, axis, -1)
    return o.reshape(columns, (*y.type.shape, *x.type.shape))


def _rows_of_hessian(gradient: Node, x: Node) -> Node:
    tangent, batch = _directions(x)
    pushed = push([gradient], {x: tangent})[0]
    shape = (*x.type.shape, *x.type.shape)
    if pushed is None:
        return o.zeros(shape, x.dtype)
    ((rows, axis),) = vectorise([pushed], batch)
    if axis is None:
        rows = o.broadcast_to(rows, (_count(x), *x.type.shape))
    return o.reshape(o.moveaxis(rows, axis, 0) if axis else rows, shape)


def hessian(cost: Node, wrt: Wrt) -> Any:
    """Return the matrix of second derivatives of a scalar by each variable: shape x.shape * 2.

    Forward mode over reverse mode, one direction per element of the variable, as one batch. It is
    symmetric to rounding only. Where a rule of `custom_vjp` or `custom_jvp` is no true derivative
    it is the Jacobian of the gradient: element [i, k] is the derivative of gradient[i] by x[k].
    """
    xs = _variables(wrt)
    for x in xs:
        _refuse_complex(x, "hessian")
    result = [_rows_of_hessian(grad(cost, x), x) for x in xs]
    if some_node([cost], lambda n: n.op.name == "custom"):  # it may not be symmetric
        result = [_exchanged(h, x.ndim) for h, x in zip(result, xs, strict=True)]
    return result[0] if isinstance(wrt, Node) else result


def _exchanged(h: Node, ndim: int) -> Node:
    """Return second derivatives with the axes of the direction behind those of the gradient."""
    moved: Node = o.permute_dims(h, (*range(ndim, 2 * ndim), *range(ndim)))
    return moved
