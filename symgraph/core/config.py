"""Settings: one small documented dataclass, `sg.config`, with a scoped override.

Order of precedence: assignment in code > `with config.override(...)` (inside it) >
`SYMGRAPH_FLAGS="name=value,..."` > `symgraph.toml` in the project > in the user's folder > default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from symgraph.core.errors import ConfigError
from symgraph.core.lazy import lazy

difflib: Any = lazy("difflib")  # for a misspelt setting
tomllib: Any = lazy("tomllib")  # for a file of settings


def _default_cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "symgraph")


def _setting(default: Any, doc: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"doc": doc, "choices": choices})


@dataclass(slots=True)
class Config:
    """All settings of symgraph. Read and set the fields as attributes."""

    floatX: str = _setting(  # noqa: N815 - Theano's name
        "float32", "element type of inputs made without a dtype", ("float32", "float64")
    )
    warn_float64: str = _setting(
        "ignore", "what a float64 result among float32 does", ("ignore", "warn", "raise")
    )
    numerics: str = _setting(
        "default",
        "which rewrites may run; fast: subnormal numbers count as zero, too",
        ("strict", "default", "fast"),
    )
    mode: str = _setting("native", "how functions run", ("native", "eager", "debug"))
    threads: int = _setting(0, "threads of the native pool; 0: all cores this process may use")
    cache: bool = _setting(True, "keep compiled objects on disk")
    plans: bool = _setting(True, "keep with them how graphs are compiled, for quick starts")
    cache_dir: str = field(
        default_factory=_default_cache,
        metadata={"doc": "folder of compiled objects and data sets", "choices": ()},
    )
    verify: bool = _setting(False, "check the IR after every compiler stage")
    traceback: str = _setting("short", "frames shown in errors", ("short", "full"))
    seed: int = _setting(0, "seed of random streams made without one")

    def __setattr__(self, name: str, value: Any) -> None:
        info = _FIELDS.get(name)
        if info is None:
            near = difflib.get_close_matches(name, _FIELDS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"unknown setting {name!r}{hint} Known: {', '.join(_FIELDS)}")
        choices = info.metadata["choices"]
        if choices and value not in choices:
            raise ConfigError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
        object.__setattr__(self, name, value)

    @contextmanager
    def override(self, **values: Any) -> Iterator[Config]:
        """Set fields inside a `with` block and restore them after it."""
        for name in values:
            if name not in _FIELDS:
                setattr(self, name, None)  # raises with the nearest name
        old = {name: getattr(self, name) for name in values}
        try:
            for name, value in values.items():
                setattr(self, name, value)
            yield self
        finally:
            for name, value in old.items():
                setattr(self, name, value)


_FIELDS = {f.name: f for f in fields(Config)}
sources: dict[str, str] = {}  # where each non-default value came from, for `symgraph config`


def _parse(name: str, text: Any) -> Any:
    kind = _FIELDS[name].type if name in _FIELDS else "str"
    if kind == "bool" and isinstance(text, str):
        return text.lower() in ("1", "true", "yes", "on")
    return int(text) if kind == "int" else text


def _load() -> Config:
    config = Config()
    user = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    for folder in (os.path.join(user, "symgraph"), os.getcwd()):
        path = os.path.join(folder, "symgraph.toml")
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found = tomllib.load(file)
            for name, value in found.items():
                setattr(config, name, _parse(name, value))
                sources[name] = path
    for item in filter(None, os.environ.get("SYMGRAPH_FLAGS", "").split(",")):
        name, _, value = item.partition("=")
        setattr(config, name.strip(), _parse(name.strip(), value.strip()))
        sources[name.strip()] = "SYMGRAPH_FLAGS"
    return config


config = _load()


def describe() -> list[tuple[str, Any, str, str]]:
    """Return (name, value, source, doc) of each setting."""
    return [
        (n, getattr(config, n), sources.get(n, "default"), f.metadata["doc"])
        for n, f in _FIELDS.items()
    ]
