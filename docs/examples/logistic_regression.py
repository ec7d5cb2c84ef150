"""Logistic regression by plain gradient descent, on scikit-learn's digits.

Shows shared variables, updates and one compiled step. Prints the loss as it falls and a test
accuracy of about 96 %.
"""

from __future__ import annotations

import numpy as np

import symgraph as sg
import symgraph_nn as nn

data = nn.data.digits()
x, y = sg.tensor4("x"), sg.lvector("y")
W = sg.shared(np.zeros((64, 10), "float32"), name="W")
b = sg.shared(np.zeros(10, "float32"), name="b")

logits = x.reshape((x.shape[0], 64)) @ W + b
decay = 1e-3 * (W**2).sum()
loss = sg.cross_entropy(logits, y).mean() + decay
gradients = sg.grad(loss, [W, b])
updates = {p: p - 0.2 * g for p, g in zip([W, b], gradients, strict=True)}
step = sg.function([x, y], loss, updates=updates)
predict = sg.function([x], sg.argmax(logits, axis=1))

for epoch in range(301):
    value = step(data.x_train, data.y_train)
    if epoch % 100 == 0:
        print(f"epoch {epoch:3d}  loss {value:.4f}")
print(f"test accuracy {(predict(data.x_test) == data.y_test).mean():.1%}")
