"""Layers: names, shapes, values against NumPy, sharing, summary."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
import symgraph_nn as nn


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_dense_computes_affine_map(rng: np.random.Generator) -> None:
    layer = nn.Dense(3, 4, sg.tanh, rng=rng, dtype="float64")
    layer.b.set_value(rng.standard_normal(4))
    x, a = sg.dmatrix("x"), rng.standard_normal((5, 3))
    got = sg.function([x], layer(x))(a)
    np.testing.assert_allclose(
        got, np.tanh(a @ layer.W.get_value() + layer.b.get_value()), rtol=1e-12
    )


def test_dense_without_bias_has_one_parameter(rng: np.random.Generator) -> None:
    assert list(nn.Dense(3, 4, rng=rng, bias=False).params()) == ["W"]


def test_conv_agrees_with_loops(rng: np.random.Generator) -> None:
    layer = nn.Conv2D(2, 3, (3, 2), rng=rng, stride=2, padding=1, dtype="float64")
    layer.b.set_value(rng.standard_normal(3))
    a = rng.standard_normal((2, 2, 5, 6))
    x = sg.tensor("x", a.shape, "float64")
    got = sg.function([x], layer(x))(a)
    padded = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
    w, b = layer.W.get_value(), layer.b.get_value()
    want = np.empty((2, 3, 3, 4))
    for n, o, i, j in np.ndindex(*want.shape):
        want[n, o, i, j] = (padded[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 2] * w[o]).sum() + b[o]
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_conv_rejects_groups_that_do_not_divide(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="3 channels do not divide into 2 groups"):
        nn.Conv2D(3, 4, 3, rng=rng, groups=2)


def test_pool_and_flatten_shapes() -> None:
    a = np.arange(32, dtype="float32").reshape(1, 2, 4, 4)
    x = sg.tensor4("x")
    got = sg.function([x], nn.Flatten()(nn.MaxPool2D(2)(x)))(a)
    assert got.tolist() == [[5, 7, 13, 15, 21, 23, 29, 31]]


def test_paths_of_nested_layers_are_stable(rng: np.random.Generator) -> None:
    inner = nn.Sequential(nn.Dense(2, 2, rng=rng), sg.relu, nn.Dense(2, 2, rng=rng))
    model = nn.Sequential(inner, nn.Dense(2, 1, rng=rng))
    names = ["0.0.W", "0.0.b", "0.2.W", "0.2.b", "1.W", "1.b"]
    assert list(model.params()) == names
    assert [p.name for p in model.params().values()] == names


def test_shared_layer_is_counted_once(rng: np.random.Generator) -> None:
    layer = nn.Dense(2, 2, rng=rng)
    assert list(nn.Sequential(layer, layer).params()) == ["0.W", "0.b"]


def test_train_flag_reaches_inner_layers() -> None:
    class Double(nn.Layer):
        """Twice its input in training."""

        def __call__(self, x: sg.Variable, train: bool = False) -> sg.Variable:
            return 2 * x if train else x

    x, model = sg.vector("x"), nn.Sequential(nn.Sequential(Double()))
    value = {x: np.ones(1, "float32")}
    assert (model(x, train=True).eval(value), model(x).eval(value)) == (2, 1)


@pytest.mark.parametrize("name", ["", "a.b", "W"])
def test_names_are_checked(name: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="name|already"):
        nn.Dense(2, 2, rng=rng).add_param(name, np.zeros(1, "float32"))


def test_sequential_rejects_what_is_no_function() -> None:
    with pytest.raises(TypeError, match="step 0 must be a layer or a function"):
        nn.Sequential(3)  # type: ignore[arg-type]


def test_summary_counts_parameters_and_flops(rng: np.random.Generator) -> None:
    model = nn.Sequential(
        nn.Conv2D(1, 4, 3, sg.relu, padding="same", rng=rng),
        nn.Flatten(),
        nn.Dense(64, 10, rng=rng),
    )
    lines = nn.summary(model, (2, 1, 4, 4)).splitlines()
    assert lines[3].split()[-2:] == ["40", f"{2 * 2 * 4 * 16 * 9:,}"]
    assert lines[-1].split() == ["total", "690", f"{2 * 2 * 4 * 16 * 9 + 2 * 2 * 64 * 10:,}"]


@pytest.mark.parametrize(
    ("make", "scale"),
    [
        (nn.init.glorot_uniform, 2 / (300 + 200)),
        (nn.init.glorot_normal, 2 / (300 + 200)),
        (nn.init.he_uniform, 2 / 300),
        (nn.init.he_normal, 2 / 300),
    ],
)
def test_initial_variance(
    make: nn.init.Initializer, scale: float, rng: np.random.Generator
) -> None:
    values = make(rng, (300, 200), None)
    assert values.dtype == "float32"
    assert values.var() == pytest.approx(scale, rel=0.02)
    assert abs(values.mean()) < 0.01 * values.std() * 3


def test_fans_of_filters() -> None:
    assert nn.init.fans((8, 3, 5, 2)) == (30, 80)
    with pytest.raises(ValueError, match="2 or 4 axes"):
        nn.init.fans((3,))


def test_relu_gets_he_values() -> None:
    assert nn.init.default_for(sg.relu) is nn.init.he_normal
    assert nn.init.default_for(None) is nn.init.glorot_uniform
