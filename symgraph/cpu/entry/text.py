"""The native entry, once for all compiled functions: LLVM text driven by the tables of `plan`.

One object serves every function, so a function's own module holds nothing but its arithmetic. The
builtin's `self` is the context table (an ndarray: its data pointer leads to the words).

The texts of the parts (`entry_guard`, `entry_memory`, `entry_run`, `entry_main`) have shorthands:
    %x = field TYPE %base OFFSET     load at a byte offset
    %x = item TYPE %base %index      load an element
    %x = ctx TYPE NAME               load a word of the context table
    %x = at %base OFFSET             an address some bytes further
    %x = record %records %index      the address of an array's record
    %x = area %frame PLAN_WORD       a part of the stack frame, at the offset that the plan says
    put TYPE value %base OFFSET      store at a byte offset
    set TYPE value %base %index      store an element
    %x = api TYPE NAME(arguments)    call the function in a word of the context table
"""

from __future__ import annotations

import re

from symgraph.cpu import abi
from symgraph.cpu.abi import Ctx, Plan, Record
from symgraph.cpu.entry.guard import GIVEN, OBJECTS, SIZES
from symgraph.cpu.entry.main import MAIN
from symgraph.cpu.entry.results import ARENA, ARRAYS
from symgraph.cpu.entry.run import RUN

ENTRY_NAMES = ("entry", "entry_into", "check_interrupt")
CHECK_NANOSECONDS = 50_000_000  # between two looks at pending signals


def entry_text() -> str:
    """Return the LLVM text of `ENTRY_NAMES`."""
    words = _constants()
    source = "\n".join((SIZES, OBJECTS, GIVEN, ARRAYS, ARENA, RUN, MAIN))
    source = re.sub(r"[A-Z]+_[A-Z0-9_]+", lambda m: words.get(m[0], m[0]), source)
    lines = ["declare { i64, i1 } @llvm.umul.with.overflow.i64(i64, i64)"]
    for line in source.splitlines():
        if line and line[0] != ";":
            lines.append(_expand(line, len(lines)))
    return "\n".join(lines) + "\n"


def _constants() -> dict[str, str]:
    names = (
        *("OB_", "FLOAT_VALUE", "LIST_ITEMS", "TUPLE_", "ARRAY_", "DESCR_", "POOL_BYTES"),
        *("FLAGS_NEW", "RELEASE_WORK", "NEVER_CHECK"),
    )
    found = {name: str(getattr(abi, name)) for name in dir(abi) if name.startswith(names)}
    found |= {f"PLAN_{name}": str(8 * word) for name, word in abi.named(Plan).items()}
    found |= {f"RECORD_{name}": str(field) for name, field in abi.named(Record).items()}
    found |= {f"CTX_{name}": str(8 * word) for name, word in abi.named(Ctx).items()}
    return found | {"CHECK_NANOSECONDS": str(CHECK_NANOSECONDS)}


def _expand(line: str, number: int) -> str:
    """Return a line without shorthands; `number` makes the names of temporaries unique."""
    if " api " in line:
        return _call(line, f"%t{number}")
    words = line.split()
    if words[0] in ("put", "set"):
        verb, kind, value, base, place = words
        at = _address(f"%t{number}", "i8" if verb == "put" else kind, base, place)
        return f"{at}\n  store {kind} {value}, ptr %t{number}"
    if len(words) < 5 or words[2] not in _SHORTHANDS:
        return line
    x, _, verb, first, *rest = words
    if verb == "at":
        return _address(x, "i8", first, rest[0])
    if verb == "record":
        return _address(x, f"[{Record.SIZE} x i8]", first, rest[0])
    if verb == "area":
        offset = _load(f"{x}.off", "i64", _address(f"{x}.off.at", "i8", "%plan", rest[0]))
        return f"{offset}\n{_address(x, 'i8', first, f'{x}.off')}"
    if verb == "ctx":
        return _load(x, first, _context(f"{x}.at", rest[0]))
    return _load(x, first, _address(f"{x}.at", "i8" if verb == "field" else first, *rest))


_SHORTHANDS = frozenset(("field", "item", "ctx", "at", "record", "area"))


def _address(x: str, step: str, base: str, place: str) -> str:
    return f"  {x} = getelementptr {step}, ptr {base}, i64 {place}"


def _context(x: str, name: str) -> str:
    return _address(x, "i8", "%ctx", str(8 * getattr(Ctx, name)))


def _load(x: str, kind: str, address: str) -> str:
    """Return a load behind the line that computes its address in `x`.at."""
    return f"{address}\n  {x} = load {kind}, ptr {x}.at"


def _call(line: str, function: str) -> str:
    """Expand `[%x =] api TYPE NAME(arguments)`; `function` is the name of the address."""
    before, _, after = line.partition("api ")
    kind, _, rest = after.partition(" ")
    name, _, arguments = rest.partition("(")
    address = _load(function, "ptr", _context(f"{function}.at", name))
    return f"{address}\n{before}call {kind} {function}({arguments}"
