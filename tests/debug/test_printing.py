"""`sg.dprint` says of each node what is asked for."""

from __future__ import annotations

import symgraph as sg


def test_kinds_sizes_and_bytes():
    x = sg.matrix("x")
    y = sg.exp(x)
    for options, kind in (
        ({}, "  matrix float32 (x.0, x.1)"),
        ({"types": False}, ""),
        ({"shapes": False}, "  matrix float32"),
        ({"types": False, "shapes": True}, "  (x.0, x.1)"),
        ({"types": False, "memory": True}, "  4*x.0*x.1 bytes"),
    ):
        assert sg.dprint(y, file="str", **options) == f"Exp [0]{kind}\n└─ x{kind}"


def test_bodies_can_be_folded():
    y = sg.scan(sg.tanh, outputs_info=[sg.vector("x")], n_steps=3)
    assert "body 0 of Loop" in sg.dprint(y, file="str")
    assert "Tanh" not in sg.dprint(y, file="str", inner=False)
