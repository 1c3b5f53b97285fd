# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: on the GPU where its build can, else on the CPU, with a note."""
try:
    import numpy
    import onnx
    import onnxruntime
except ImportError as problem:
    from common import skip
    skip(problem)
from common import show

nodes = [onnx.helper.make_node('MatMul', ['x', 'w'], ['h']), onnx.helper.make_node('Relu', ['h'], ['y'])]
made = numpy.random.default_rng(0)
weights = onnx.numpy_helper.from_array(made.standard_normal((64, 32)).astype(numpy.float32), 'w')
graph = onnx.helper.make_graph(nodes, 'small', [onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [8, 64])],
                               [onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [8, 32])], [weights])
model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=9)
wanted = [one for one in ('CUDAExecutionProvider', 'CPUExecutionProvider') if one in onnxruntime.get_available_providers()]
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=wanted)
print('note', session.get_providers()[0])
show(session.run(None, {'x': made.standard_normal((8, 64)).astype(numpy.float32)})[0])
