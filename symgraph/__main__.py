"""Command line: python -m symgraph doctor | config | cache."""

from __future__ import annotations

import argparse
import sys

from symgraph.debug import doctor

EXAMPLES = """\
examples:
  python -m symgraph doctor          check this machine and the installation
  python -m symgraph config --json   settings with their sources
  python -m symgraph cache clear     forget all compiled functions
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; 0 fine, 1 something failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    if options.verb == "doctor":
        found = doctor.examine()
        _print(doctor.as_json(found) if options.json else doctor.as_text(found))
        return 0 if all(f.good for f in found) else 1
    if options.verb == "config":
        _print(doctor.settings(options.json))
        return 0
    if options.action == "clear":
        doctor.clear_cache()
    _print(doctor.cache_report(options.json))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m symgraph",
        description="Look at the installation, the settings and the cache of symgraph.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in (
        ("doctor", "versions, CPU, BLAS, cache folder, and a function compiled and run"),
        ("config", "value, source and meaning of each setting"),
        ("cache", "the folder of compiled functions: its size, or clear it"),
    ):
        examples = [line for line in EXAMPLES.splitlines() if f"symgraph {name}" in line]
        sub = verbs.add_parser(
            name,
            help=text,
            description=text,
            epilog="\n".join(["example:", *examples]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--json", action="store_true", help="print JSON")
        if name == "cache":
            sub.add_argument("action", nargs="?", choices=("info", "clear"), default="info")
    return parser


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
