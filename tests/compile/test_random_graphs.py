"""Random graphs: native code, exact and generic, and gradients agree with the NumPy references."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import symgraph as sg
from symgraph.compile import eager
from symgraph.testing.tolerances import mismatch

UNARY = ("exp", "tanh", "sigmoid", "square", "neg", "sin", "cos", "softplus", "abs", "relu")
BINARY = ("add", "sub", "mul", "maximum", "minimum", "logaddexp")


class Grower:
    """Grows a graph step by step from a pool of nodes, by decisions drawn from `data`."""

    def __init__(self, data, inputs, without=()):
        self.data, self.pool, self.without = data, list(inputs), without

    def draw(self, strategy):
        return self.data.draw(strategy)

    def pick(self):
        return self.draw(st.sampled_from(self.pool))

    @staticmethod
    def sizes(x):
        """Return the shape as numbers: of the test value where the sizes are symbols."""
        return x.type.shape if x.test_value is None else x.test_value.shape

    def axis(self, x):
        return self.draw(st.integers(0, x.ndim - 1))

    def step(self):
        x = self.pick()
        kinds = ["unary", "binary", "scale", "size"]
        if x.ndim:
            kinds += ["reduce", "gradient", "slice", "flip", "softmax", "concat", "cumsum"]
            kinds += ["argmax", "gather", "shared_product"]
        if x.ndim == 2:
            kinds += ["transpose", "matmul", "reshape", "normalise", "pad", "scatter"]
        kinds = [k for k in kinds if k not in self.without]
        new = getattr(self, self.draw(st.sampled_from(kinds)))(x)
        if all(self.sizes(new)):
            self.pool.append(new)

    def unary(self, x):
        return getattr(sg, self.draw(st.sampled_from(UNARY)))(sg.tanh(x))

    def binary(self, x):
        same = [y for y in self.pool if self.sizes(y) in ((), self.sizes(x))]
        return getattr(sg, self.draw(st.sampled_from(BINARY)))(x, self.draw(st.sampled_from(same)))

    def scale(self, x):
        return x * self.draw(st.sampled_from([0.3, -1.0, 2.0, 3.0])) + 0.25

    def size(self, x):
        n = self.draw(st.sampled_from([x.shape[0], x.shape[0] + 2])) if x.ndim else 3
        return (0.7 * x / n if self.draw(st.booleans()) else x * n).astype(x.dtype)

    def reduce(self, x):
        name = self.draw(st.sampled_from(["sum", "mean", "max", "min", "logsumexp", "var", "prod"]))
        keep = self.draw(st.booleans())
        return getattr(sg, name)(sg.tanh(x), axis=self.axis(x), keepdims=keep)

    def gradient(self, x):
        weights = sg.softmax(x, self.axis(x))
        return sg.grad(sg.sum(sg.sin(x) * weights), x)

    def slice(self, x):
        k = self.axis(x)
        n = self.sizes(x)[k]
        key = [slice(None)] * x.ndim
        a = self.draw(st.integers(0, n - 1))
        key[k] = slice(a, self.draw(st.integers(a + 1, n)), self.draw(st.sampled_from([1, 2])))
        return x[tuple(key)]

    def flip(self, x):
        return sg.flip(x, self.axis(x))

    def shared_product(self, x):
        product = x * sg.tanh(x)
        return sg.sin(product) * product.sum(self.axis(x), keepdims=True)

    def softmax(self, x):
        return sg.softmax(x, self.axis(x))

    def concat(self, x):
        return sg.concatenate([x, sg.sin(x)], self.axis(x))

    def cumsum(self, x):
        return sg.cumsum(sg.tanh(x), self.axis(x))

    def argmax(self, x):
        k = self.axis(x)
        return sg.argmax(x, k).astype("float64") * 0.1

    def gather(self, x):
        n = self.sizes(x)[0]
        index = self.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=4))
        return x[np.array(index)]

    def scatter(self, x):
        n = self.sizes(x)[0]
        index = self.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=4))
        return x[np.array(index)].inc(0.5)

    def transpose(self, x):
        return x.T

    def matmul(self, x):
        return sg.tanh(x @ x.T) if self.draw(st.booleans()) else sg.tanh(x.T @ x)

    def reshape(self, x):
        a, b = x.shape
        return x.reshape((b, a)) if self.draw(st.booleans()) else x.reshape((a * b,))

    def normalise(self, x):
        centred = x - x.mean(1, keepdims=True)
        return centred / sg.sqrt(sg.var(x, 1, keepdims=True) + 1.0)

    def pad(self, x):
        return sg.pad(x, self.draw(st.integers(0, 2)))


def results_and_gradients(grower, inputs):
    """Return the last nodes and the gradient of a cost of them."""
    outputs = grower.pool[-3:]
    cost = sum((0.3 * o * o).mean() for o in outputs)
    return [*outputs, *sg.grad(cost, inputs, disconnected_inputs="ignore")]


SHAPES = st.tuples(st.sampled_from([1, 2, 3, 5, 8, 17]), st.sampled_from([1, 2, 4, 7, 9, 33]))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), SHAPES, st.integers(0, 2**31), st.integers(1, 8))
def test_native_code_agrees_with_numpy(data, shape, seed, steps):
    x = sg.tensor("x", shape, "float64")
    y = sg.tensor("y", shape, "float64")
    grower = Grower(data, [x, y])
    for _ in range(steps):
        grower.step()
    outputs = results_and_gradients(grower, [x, y])
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for _ in range(2)]
    with sg.config.override(verify=True, cache=False):
        f = sg.function([x, y], outputs, on_unused_input="ignore")
        actual = f(*arrays)
    expected = eager.evaluate(outputs, dict(zip([x, y], arrays, strict=True)))
    for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
        wrong = mismatch(a, e, relative=1e-9)
        assert wrong is None, f"output {k} {outputs[k]!r}: {wrong}"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.data(),
    SHAPES,
    st.integers(0, 2**31),
    st.integers(1, 8),
    st.sampled_from(["float32", "float64"]),
)
def test_known_and_run_time_sizes_give_the_same_bits(data, shape, seed, steps, dtype):
    """Not for products of matrices: small ones are loops where sizes are known."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape).astype(dtype) for _ in range(2)]
    dims = sg.Dim("m"), sg.Dim("n")
    x, y = (sg.tensor(k, dims, dtype, a) for k, a in zip("xy", arrays, strict=True))
    grower = Grower(data, [x, y], without=("matmul", "flip", "argmax"))
    for _ in range(steps):
        grower.step()
    outputs = results_and_gradients(grower, [x, y])
    with sg.config.override(cache=False):
        exact, generic = (
            sg.function([x, y], outputs, shapes=kind, on_unused_input="ignore")(*arrays)
            for kind in ("exact", "generic")
        )
    for k, (a, b) in enumerate(zip(exact, generic, strict=True)):
        np.testing.assert_array_equal(a, b, err_msg=f"output {k} {outputs[k]!r}")
