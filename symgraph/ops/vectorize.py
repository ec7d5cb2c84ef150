"""Functions of cores, arrays of few axes, on stacks of them that broadcast: NumPy's vectorize."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.dims.dim import broadcast

_CORE = r"\(\s*(?:\w+\s*(?:,\s*\w+\s*)*)?\)"
_SIDE = rf"{_CORE}(?:\s*,\s*{_CORE})*"
Cores = list[tuple[str, ...]]


@function
def vectorize(
    fn: Callable[..., Any], signature: str | None = None, excluded: Collection[int] = ()
) -> Callable[..., Any]:
    """Return `fn`, a function of cores, as a function of stacks of them that broadcast.

    signature: the axes of the core of each argument and result, such as "(m,n),(n)->(m)"; None:
    scalars. Axes in front of a core are the stack; they broadcast as in NumPy. excluded: positions
    of arguments that every call of `fn` gets whole. By `vmap`, so it is one graph, with all
    derivatives.

    Raises ValueError for another signature, ShapeError where arguments do not fit it.

    >>> a, x = sg.tensor3("a", dtype="float64"), sg.vector("x", dtype="float64")
    >>> product = sg.vectorize(lambda m, v: m @ v, "(m,n),(n)->(m)")
    >>> product(a, x).eval({a: np.ones((2, 3, 4)), x: np.ones(4)}).shape
    (2, 3)
    """
    sides = None if signature is None else _parsed(signature)

    def stacked(*args: Any) -> Any:
        places = [k for k in range(len(args)) if k not in excluded]
        given = [as_node(args[k]) for k in places]
        cores: Cores = [()] * len(given) if sides is None else sides[0]
        if len(cores) != len(given):
            raise ValueError(
                f"vectorize: the signature {signature!r} has {len(cores)} arguments, got "
                f"{len(given)}"
            )
        _check(given, cores)

        def single(*values: Node) -> Any:
            whole = list(args)
            for k, value in zip(places, values, strict=True):
                whole[k] = value
            found = fn(*whole)
            if sides is not None:
                _check_results(found, sides[1], str(signature))
            return found

        return _over_stacks(single, given, [len(c) for c in cores])

    return stacked


def _parsed(signature: str) -> tuple[Cores, Cores]:
    if not re.fullmatch(rf"\s*{_SIDE}\s*->\s*{_SIDE}\s*", signature):
        raise ValueError(
            f'vectorize: {signature!r} is no signature\n  mend:   write it as "(m,n),(n)->(m)"'
        )
    left, right = (
        [tuple(re.findall(r"\w+", core)) for core in re.findall(_CORE, side)]
        for side in signature.split("->")
    )
    return left, right


def _check(nodes: Sequence[Node], cores: Cores) -> None:
    """Compare the sizes of axes that the signature gives one name."""
    sizes: dict[str, tuple[Any, Node]] = {}
    for x, core in zip(nodes, cores, strict=True):
        if x.ndim < len(core):
            raise ShapeError(
                f"vectorize: `{describe(x)}` {x.type}, made at {x.source}, has fewer axes than its "
                f"core ({','.join(core)})"
            )
        for name, n in zip(core, x.type.shape[x.ndim - len(core) :], strict=True):
            before, other = sizes.setdefault(name, (n, x))
            if isinstance(n, int) and isinstance(before, int) and n != before:
                raise ShapeError(
                    f"vectorize: axis {name} has length {before} in `{describe(other)}` "
                    f"{other.type} and {n} in `{describe(x)}` {x.type}, made at {x.source}"
                )


def _check_results(found: Any, cores: Cores, signature: str) -> None:
    results = list(found) if isinstance(found, (list, tuple)) else [found]
    ranks = [as_node(y).ndim for y in results]
    if ranks != [len(c) for c in cores]:
        raise ShapeError(
            f"vectorize: the function returned results of {ranks} axes, the signature "
            f"{signature!r} has {[len(c) for c in cores]}"
        )


def _over_stacks(single: Callable[..., Any], nodes: Sequence[Node], ranks: Sequence[int]) -> Any:
    """Apply `vmap` once for each axis of the stack; what broadcasts along it is not batched."""
    leads = [x.type.shape[: x.ndim - rank] for x, rank in zip(nodes, ranks, strict=True)]
    depth = max((len(lead) for lead in leads), default=0)
    padded = [(1,) * (depth - len(lead)) + lead for lead in leads]
    stack: list[Any] = []
    for axis in range(depth):
        size: Any = 1
        for lead in padded:
            try:
                size = broadcast(size, lead[axis])
            except ValueError:
                raise _clash(nodes, leads) from None
        stack.append(size)
    values, batched = [], []
    for x, lead, wide in zip(nodes, leads, padded, strict=True):
        moves = [not (isinstance(n, int) and n == 1) or m == 1 for n, m in zip(wide, stack,
                                                                              strict=True)]
        first = depth - len(lead)
        moves[:first] = [False] * first
        drop = tuple(k - first for k in range(first, depth) if not moves[k])
        values.append(o.squeeze(x, drop) if drop else x)
        batched.append(moves)
    mapped = single
    for axis in reversed(range(depth)):
        axes = [0 if moves[axis] else None for moves in batched]
        if any(a is not None for a in axes):
            mapped = o.vmap(mapped, in_axes=axes)
    return mapped(*values)


def _clash(nodes: Sequence[Node], leads: Sequence[tuple[Any, ...]]) -> ShapeError:
    lines = ["vectorize: the axes in front of the cores do not broadcast"]
    lines += [
        f"  input:  `{describe(x)}` {x.type}, in front {lead}, made at {x.source}"
        for x, lead in zip(nodes, leads, strict=True)
    ]
    return ShapeError("\n".join(lines))
