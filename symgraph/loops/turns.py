"""Fill a large temporary in turns, each time only the part that its readers need next.

Padded images are written by one nest and read by another; those of a batch go through memory in
between. Where both have loops over the same images and channels, these become one loop of turns
around them: the temporary is as large as one turn needs, and stays in a near cache. No turn needs
another one, so threads share them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from symgraph.core.record import dataclass
from symgraph.loops.borders import split_borders
from symgraph.loops.expr import Axis, Buffer, Expr, walk
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Loop, Nest, Statement, Store
from symgraph.loops.storage import Uses

FAR = 1 << 20  # bytes of a temporary that leaves the near caches before it is read
NEAR = 256 << 10  # bytes of a part that stays in them
LEAST = 1 << 13  # bytes of a part whose work takes far longer than the calls for it
MOST_PLACES = 64  # for a part: as many threads can work at once
INNER = 2  # axes of a temporary of which a part has all: those of an image


@dataclass(frozen=True, slots=True)
class Access:
    """An element of the temporary: the loop along each outer axis, if any, and the rest."""

    outer: tuple[Axis | None, ...]
    inner: Expr


@dataclass(frozen=True, slots=True)
class Turns:
    """The outer axes of a temporary that turns are over; of the last one, `block` a turn."""

    places: tuple[int, ...]
    block: int
    count: int


def in_turns(
    s: Builder, statements: Sequence[Statement], fixed: Collection[Buffer]
) -> tuple[list[Statement], set[Buffer]]:
    """Return statements with loops of turns, and the temporaries that are whole no more.

    `fixed` are buffers that stay as they are.
    """
    left, gone = list(statements), set[Buffer]()
    k = 0
    while k < len(left):
        statement = left[k]
        buffer = _large(statement)
        group = [] if buffer is None or buffer in fixed else _group(left, k, buffer)
        loop = _loop(s, group, buffer, fixed) if buffer is not None and group else None
        if buffer is None or loop is None:
            k += 1
            continue
        left[left.index(group[1])] = loop
        left = [t for t in left if t not in group]
        gone.add(buffer)
    return left, gone


def _large(statement: Statement) -> Buffer | None:
    """Return the large temporary that a nest fills."""
    if not isinstance(statement, Nest) or len(statement.stores) != 1:
        return None
    buffer = statement.stores[0].buffer
    size = buffer.size
    if buffer.kind != "temporary" or len(buffer.shape) <= INNER or not isinstance(size, int):
        return None
    return buffer if size * buffer.dtype.itemsize >= FAR else None


def _group(statements: Sequence[Statement], k: int, buffer: Buffer) -> list[Nest]:
    """Return statement k and all readers of what it stores, if these can be done together.

    They cannot where one is no nest, or what stands between them must come before or after one.
    """
    uses = Uses()
    users = [t for t in statements if buffer in (*uses.reads(t), *uses.writes(t))]
    group = [t for t in users if isinstance(t, Nest) and not t.serial and not t.scan]
    if len(group) < len(users) or len(group) < 2 or users[0] is not statements[k]:
        return []
    if any(t.accumulate for nest in group for t in nest.stores):
        return []
    if any(buffer in uses.writes(t) for t in group[1:]):
        return []
    last = max(j for j, t in enumerate(statements) if t is group[-1])
    between = [t for t in statements[k:last] if t not in group]
    read = {b for t in group for b in uses.reads(t)}
    written = {b for t in group for b in uses.writes(t)}
    others = {b for t in between for b in uses.writes(t)}
    touched = others | {b for t in between for b in uses.reads(t)}
    if others & read or written & touched or (written - {buffer}) & read:
        return []
    return group


def _loop(
    s: Builder, group: Sequence[Nest], buffer: Buffer, fixed: Collection[Buffer]
) -> Loop | None:
    """Return the loop of turns of a group, None where it has no such loops, or parts are large."""
    if any(t.buffer in fixed for nest in group for t in nest.stores):
        return None
    accesses = [_accesses(s, nest, buffer) for nest in group]
    if any(not found for found in accesses):
        return None
    known = [list(found.values()) for found in accesses if found]
    turns = _choose(group, known, buffer)
    if turns is None:
        return None
    shape = tuple(
        turns.block if d == turns.places[-1] else 1 if d in turns.places else n
        for d, n in enumerate(buffer.shape)
    )
    places = min(turns.count, MOST_PLACES)
    part = Buffer(buffer.name, buffer.dtype, (places, *shape), "temporary")
    turn, block = s.axis("t", turns.count), s.axis("b", turns.block)
    at = _positions(s, buffer, turns, turn, block)
    body = [
        _in_turn(s, nest, found, (buffer, part), at, block)
        for nest, found in zip(group, accesses, strict=True)
        if found
    ]
    parts = tuple(p for nest in body for p in split_borders(s, nest))
    origin = tuple(dict.fromkeys(n for nest in group for n in nest.origin))
    return Loop(turn, parts, origin=origin, free=True)


def _accesses(s: Builder, nest: Nest, buffer: Buffer) -> dict[Expr, Access] | None:
    """Return all addresses in the temporary at which a nest stores or loads, taken apart."""
    roots = [e for t in nest.stores for e in (t.value, t.address, t.guard) if e is not None]
    loads = [e for e in walk(roots) if e.op == "load" and e.data is buffer]
    addresses = [e.args[0] for e in loads]
    addresses += [t.address for t in nest.stores if t.buffer is buffer]
    found: dict[Expr, Access] = {}
    for address in addresses:
        access = _taken_apart(s, address, buffer)
        if access is None:
            return None
        found[address] = access
    return found if all(len(e.args) == 1 for e in loads) else None


def _taken_apart(s: Builder, address: Expr, buffer: Buffer) -> Access | None:
    """Return the loops along the outer axes of a buffer; None where an address has others."""
    address = s.index(address)
    if address.op == "axis":
        terms, constant = [(address, 1)], 0
    elif address.op == "affine":
        terms, constant = list(zip(address.args, *address.data[:1], strict=True)), address.data[1]
    else:
        return None
    shape, strides = _known(buffer), _strides(buffer)
    outer: list[Axis | None] = []
    inner = s.index(constant)
    for n, stride in zip(shape[:-INNER], strides, strict=False):
        ours = [a for a, c in terms if n != 1 and c == stride and a.op == "axis"]
        if len(ours) > 1 or (n != 1 and not ours) or (ours and ours[0].data.extent != n):
            return None
        terms = [(a, c) for a, c in terms if a not in ours]
        outer.append(ours[0].data if ours else None)
    for a, c in terms:
        inner = s.iadd(inner, s.imul(a, c))
    low, high = s.bounds(inner)
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    return Access(tuple(outer), inner) if low >= 0 and high < math.prod(shape[-INNER:]) else None


def _known(buffer: Buffer) -> list[int]:
    """Return the shape of a buffer, all of it numbers."""
    return [n for n in buffer.shape if isinstance(n, int)]


def _strides(buffer: Buffer) -> list[int]:
    shape = _known(buffer)
    return [math.prod(shape[d + 1 :]) for d in range(len(shape))]


def _choose(
    group: Sequence[Nest], accesses: Sequence[Sequence[Access]], buffer: Buffer
) -> Turns | None:
    """Return the turns: over outer axes along which each nest has one and the same own loop."""
    shape = _known(buffer)
    places = [
        d
        for d, n in enumerate(shape[:-INNER])
        if n != 1
        and all(
            len({a.outer[d] for a in found}) == 1
            and found[0].outer[d] in nest.axes
            and not _is_contiguous(nest, found[0].outer[d])
            for nest, found in zip(group, accesses, strict=True)
        )
    ]
    if not places:
        return None
    extents = [shape[d] for d in places]
    each = math.prod(shape) * buffer.dtype.itemsize // math.prod(extents)
    blocks = [b for b in range(1, extents[-1] + 1) if extents[-1] % b == 0 and b * each <= NEAR]
    if not blocks or blocks[-1] * each < LEAST:
        return None
    count = math.prod(extents) // blocks[-1]
    return Turns(tuple(places), blocks[-1], count) if count > 1 else None


def _is_contiguous(nest: Nest, axis: Axis | None) -> bool:
    """Tell whether a nest goes through some array element by element along an axis.

    A turn would use one element of each line: images that lie innermost.
    """
    roots = [e for t in nest.stores for e in (t.value, t.guard) if e is not None]
    addresses = [e.args[0] for e in walk(roots) if e.op == "load"]
    for address in (*addresses, *(t.address for t in nest.stores)):
        if address.op == "axis" and address.data is axis:
            return True
        if address.op == "affine":
            coefficients = zip(address.args, *address.data[:1], strict=True)
            if any(a.op == "axis" and a.data is axis and c == 1 for a, c in coefficients):
                return True
    return False


def _positions(
    s: Builder, buffer: Buffer, turns: Turns, turn: Axis, block: Axis
) -> dict[int, Expr]:
    """Return the place along each outer axis that turns are over."""
    last = turns.places[-1]
    rest = s.at(turn)
    number = buffer.shape[last] // turns.block
    at = {last: s.iadd(s.imul(s.imod(rest, number), turns.block), s.at(block))}
    rest = s.ifloordiv(rest, number)
    for d in reversed(turns.places[:-1]):
        at[d] = s.imod(rest, buffer.shape[d])
        rest = s.ifloordiv(rest, buffer.shape[d])
    return at


def _in_turn(
    s: Builder,
    nest: Nest,
    accesses: dict[Expr, Access],
    buffers: tuple[Buffer, Buffer],
    at: dict[int, Expr],
    block: Axis,
) -> Nest:
    """Return what a turn does of a nest, with the part of the temporary instead of all of it."""
    whole, part = buffers
    last = max(at)
    first = next(iter(accesses.values()))
    axes = {first.outer[d]: place for d, place in at.items()}
    values = {axis: place for axis, place in axes.items() if axis is not None}
    strides = _strides(part)[1:]
    memo: dict[Expr, Expr] = {}
    places: dict[Expr, Expr] = {}
    for address, access in accesses.items():
        new = s.imul(s.at(block), strides[last])
        for d, axis in enumerate(access.outer):
            if axis is not None and d not in at:
                new = s.iadd(new, s.imul(s.at(axis), strides[d]))
        places[address] = s.iadd(new, s.replace(access.inner, values, {}))
        memo[s.load(whole, address)] = s.load(part, places[address])
    stores = tuple(
        Store(
            part if t.buffer is whole else t.buffer,
            places[t.address] if t.buffer is whole else s.replace(t.address, values, memo),
            s.replace(t.value, values, memo),
            None if t.guard is None else s.replace(t.guard, values, memo),
        )
        for t in nest.stores
    )
    own = first.outer[last]
    new_axes = tuple(block if a is own else a for a in nest.axes if a is own or a not in values)
    return Nest(new_axes, stores, origin=nest.origin)
