# SPDX-License-Identifier: Apache-2.0
"""JAX with its default preallocation, 75 % of what it sees: XLA's runtime, which is TensorFlow's too."""
import os

os.environ.setdefault('XLA_FLAGS', '--xla_gpu_deterministic_ops=true')
try:
    import jax
    import jax.numpy as jnp
except ImportError as problem:
    from common import skip
    skip(problem)
import numpy
from common import show


def loss(weights, x, y):
    return jnp.mean((jnp.tanh(x @ weights['a']) @ weights['b'] - y) ** 2)


assert jax.devices()[0].platform == 'gpu', jax.devices()
keys = jax.random.split(jax.random.PRNGKey(0), 4)
weights = {'a': jax.random.normal(keys[0], (256, 512)) * 0.05, 'b': jax.random.normal(keys[1], (512, 16)) * 0.05}
x, y = jax.random.normal(keys[2], (1024, 256)), jax.random.normal(keys[3], (1024, 16))
step = jax.jit(lambda w: jax.tree.map(lambda value, slope: value - 0.05 * slope, w, jax.grad(loss)(w, x, y)))
for _ in range(50):
    weights = step(weights)
show(numpy.asarray(weights['a']), numpy.asarray(weights['b']))
