"""Data classes that are quick to create: what `dataclasses` gives, for a tenth of the start time.

The standard decorator generates and compiles six methods a class (about a millisecond); with two
dozen classes that is a fifth of the time to a process' first result. Here only `__init__` is
generated, once for all classes with as many fields, and the other methods are shared closures. No
`fields` or `asdict`, and no inheritance between such classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from types import CodeType, FunctionType
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


class FrozenError(AttributeError):
    """A field of a frozen data class was assigned."""


class _Factory:
    """The default of a field that is made anew for each instance."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], Any]) -> Any:
    """Return the default of a field: `default_factory()`, called for each instance."""
    return _Factory(default_factory)


def replace(record: T, **changes: Any) -> T:
    """Return a record with some fields changed."""
    kind: Any = type(record)
    kept = {name: getattr(record, name) for name in kind.__match_args__}
    made: T = kind(**(kept | changes))
    return made


@dataclass_transform(field_specifiers=(field,))
def dataclass(
    *, frozen: bool = False, slots: bool = True, eq: bool = True
) -> Callable[[type[T]], type[T]]:
    """Make a slotted data class of the annotated names; see `dataclasses.dataclass`.

    frozen: assignment raises FrozenError. eq: compare by value and, if frozen, hash by value;
    otherwise by identity. TypeError without slots, the only form there is.
    """
    if not slots:
        raise TypeError("data classes have slots")

    def make(cls: type[T]) -> type[T]:
        names = tuple(cls.__dict__.get("__annotations__", ()))
        space = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__")}
        defaults = {name: space.pop(name) for name in names if name in space}
        space |= {"__slots__": names, "__match_args__": names, "__qualname__": cls.__qualname__}
        space |= _methods(names, frozen, eq, space)
        kind: Any = type(cls)
        made = kind(cls.__name__, cls.__bases__, space)
        made.__init__ = _init(made, names, defaults, frozen)
        return made  # type: ignore[no-any-return]

    return make


def _init(cls: Any, names: tuple[str, ...], defaults: dict[str, Any], frozen: bool) -> Any:
    """Return `__init__`; a frozen class is filled through the descriptors of its slots."""
    required = len(names) - len(defaults)
    if not defaults.keys() <= set(names[required:]):
        raise TypeError(f"{cls.__qualname__}: fields without a default come first")
    made = tuple(isinstance(defaults.get(name), _Factory) for name in names)
    code = _pattern(made, frozen, hasattr(cls, "__post_init__"))
    fields = {f"p{k}": name for k, name in enumerate(names)}
    setters = {f"set_p{k}": f"set_{name}" for k, name in enumerate(names)}
    code = code.replace(
        co_varnames=("self", *names),
        co_names=tuple((fields | setters).get(name, name) for name in code.co_names),
        co_qualname=f"{cls.__qualname__}.__init__",
    )
    scope: dict[str, Any] = {"_Factory": _Factory, "type": type}
    if frozen:
        scope |= {f"set_{name}": cls.__dict__[name].__set__ for name in names}
    return FunctionType(code, scope, "__init__", tuple(defaults[n] for n in names[required:]))


@cache
def _pattern(made: tuple[bool, ...], frozen: bool, checked: bool) -> CodeType:
    """Return the code of an `__init__` for fields p0, p1, ..., some of which are `made` anew.

    Classes put their own names into it: to read and compile source takes ten times as long.
    """
    lines = [f"def __init__({', '.join(['self', *(f'p{k}' for k in range(len(made)))])}):"]
    for k, factory in enumerate(made):
        value = f"p{k}.make() if type(p{k}) is _Factory else p{k}" if factory else f"p{k}"
        lines.append(f"    set_p{k}(self, {value})" if frozen else f"    self.p{k} = {value}")
    lines.append("    self.__post_init__()" if checked else "    pass")
    scope: dict[str, Any] = {}
    exec("\n".join(lines), scope)  # noqa: S102 - our own text
    code: CodeType = scope["__init__"].__code__
    return code


def _methods(names: tuple[str, ...], frozen: bool, eq: bool, own: dict[str, Any]) -> dict[str, Any]:
    """Return the methods that the class does not define itself."""
    values: Any = attrgetter(*names) if names else lambda self: ()

    def __repr__(self: Any) -> str:
        parts = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({parts})"

    def __eq__(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(values(self) == values(other))

    def __hash__(self: Any) -> int:
        return hash(values(self))

    def __reduce__(self: Any) -> Any:
        return type(self), tuple(getattr(self, name) for name in names)

    def __setattr__(self: Any, name: str, value: Any) -> None:
        raise FrozenError(f"cannot assign to field {name!r} of {type(self).__qualname__}")

    def __delattr__(self: Any, name: str) -> None:
        raise FrozenError(f"cannot delete field {name!r} of {type(self).__qualname__}")

    found: dict[str, Any] = {"__repr__": __repr__, "__reduce__": __reduce__}
    if eq:
        found |= {"__eq__": __eq__, "__hash__": __hash__ if frozen else None}
    if frozen:
        found |= {"__setattr__": __setattr__, "__delattr__": __delattr__}
    return {name: method for name, method in found.items() if name not in own}
