"""One LLVM text as several modules, which threads turn into objects side by side, in one bundle."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence

from symgraph.core.record import dataclass
from symgraph.cpu.native.codegen import Part

LONG = 48_000  # characters of a part; shorter ones would not repay a thread and a link
ONCE = 8_000  # of a function without loops from which on optimising it takes longer than it gives
_MAGIC = b"SGPARTS\x01"
_NAME = re.compile(r"@[\w.$]+")
_CONSTANT = re.compile(r"@[\w.$]+ = (private|internal) (unnamed_addr )?constant ")


@dataclass(frozen=True, slots=True)
class _Item:
    """A function or a global of a text; `needs`: names in it."""

    name: str
    text: str
    needs: frozenset[str]

    @property
    def is_function(self) -> bool:
        return self.text.startswith("define ")

    @property
    def declaration(self) -> str:
        """What a module says of a function that lies in another one."""
        head = self.text[len("define ") : self.text.index("{\n")].strip()
        return f"declare {head}"


def split(text: str, once: Sequence[str] = ()) -> list[Part]:
    """Return the modules that stand for a text: one, or several if it is long.

    Functions of one module only become visible to the others. Constants are in every module
    that reads them; a text with variables stays whole. `once` names functions without loops: where
    long, they are modules of their own, which are not optimised.
    """
    if len(text) < LONG:
        return [Part(text)]
    rest, items = _items(text)
    groups = _groups([i for i in items.values() if i.is_function], once)
    if len(groups) == 1 or not all(i.is_function or _is_shareable(i) for i in items.values()):
        return [Part(text)]
    return [Part(_module(group, items, rest), level) for group, level in groups]


def _items(text: str) -> tuple[list[str], dict[str, _Item]]:
    """Return what every module needs (declarations of others' functions, ...), and the items."""
    rest: list[str] = []
    items: dict[str, _Item] = {}
    head, *chunks = re.split(r"^define ", text, flags=re.MULTILINE)
    lines = head.splitlines()
    for chunk in chunks:
        end = chunk.index("\n}") + 3
        lines += chunk[end:].splitlines()
        body = re.sub(r"^(internal|private) ", "", chunk[:end])
        _enter(items, f"define {body}")
    for line in lines:
        if line.startswith("@"):
            _enter(items, line)
        elif line:
            rest.append(line)
    return rest, items


def _enter(items: dict[str, _Item], text: str) -> None:
    names = _NAME.findall(text)
    items[names[0]] = _Item(names[0], text, frozenset(names[1:]))


def _is_shareable(item: _Item) -> bool:
    """Tell whether each module may have a copy of a global: whether it is a constant of its own."""
    return _CONSTANT.match(item.text) is not None


def _groups(
    functions: Iterable[_Item], once: Sequence[str]
) -> list[tuple[list[_Item], int]]:
    """Return the functions of each module, in order, and how far it is optimised."""
    groups: list[tuple[list[_Item], int]] = []
    group: list[_Item] = []
    for f in functions:
        if f.name[1:] in once and len(f.text) >= ONCE:
            groups.append(([f], 0))
            continue
        group.append(f)
        if sum(len(g.text) for g in group) >= LONG:
            groups.append((group, 2))
            group = []
    if group and groups and groups[-1][1] == 2 and sum(len(f.text) for f in group) < LONG // 4:
        groups[-1][0].extend(group)
    elif group:
        groups.append((group, 2))
    return groups


def _module(group: list[_Item], items: dict[str, _Item], rest: list[str]) -> str:
    """Return a text with the functions of a group, and with what they name."""
    own = {f.name for f in group}
    named: dict[str, None] = {}
    left = [name for f in group for name in sorted(f.needs)]
    while left:
        name = left.pop()
        if name in own or name in named or name not in items:
            continue
        named[name] = None
        if not items[name].is_function:
            left += sorted(items[name].needs)
    others = [items[name] for name in named]
    lines = [line for line in rest if _is_needed(line, group)]
    lines += [i.declaration if i.is_function else i.text for i in others]
    return "\n".join([*lines, *(f.text for f in group)])


def _is_needed(line: str, group: list[_Item]) -> bool:
    """Tell whether a module needs a line: a declaration only where its name stands."""
    name = _NAME.search(line) if line.startswith("declare ") else None
    return name is None or any(name[0] in f.needs for f in group)


def bundled(codes: Sequence[bytes]) -> bytes:
    """Return objects as one string of bytes."""
    if len(codes) == 1:
        return codes[0]
    sizes = struct.pack(f"<{len(codes) + 1}Q", len(codes), *map(len, codes))
    return b"".join([_MAGIC, sizes, *codes])


def unbundled(code: bytes) -> list[bytes]:
    """Return the objects of what `bundled` made, one for any other bytes."""
    if not code.startswith(_MAGIC):
        return [code]
    at = len(_MAGIC)
    (count,) = struct.unpack_from("<Q", code, at)
    sizes = struct.unpack_from(f"<{count}Q", code, at + 8)
    at += 8 * (count + 1)
    found = []
    for size in sizes:
        found.append(code[at : at + size])
        at += size
    return found
