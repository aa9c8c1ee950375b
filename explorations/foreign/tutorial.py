import sys

import numpy as np

option = dict(word.removeprefix("--").split("=") for word in sys.argv[1:])
data, luck = np.random.default_rng(0), np.random.default_rng(int(option["seed"]))
inputs = data.normal(size=(4000, 4))
targets = np.sin(inputs @ [1.0, 2.0, 0.0, -1.0])
hidden = np.tanh(inputs @ data.normal(size=(4, int(option["width"]))))
weights = np.zeros(hidden.shape[1])
print("parameters", weights.size)
for step in range(1001):
    if step % 250 == 0:
        print("step", step, "val", np.mean((hidden[3000:] @ weights - targets[3000:]) ** 2))
    batch = luck.integers(3000, size=64)
    error = hidden[batch] @ weights - targets[batch]
    weights -= float(option["rate"]) * hidden[batch].T @ error / 64
