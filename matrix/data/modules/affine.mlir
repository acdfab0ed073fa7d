// y = x @ weights + bias, in dialects that all compilers from 20230209.425 to 3.13 read.
func.func @main(%x: tensor<4x8xf32>) -> tensor<4x4xf32> {
  %weights = arith.constant dense<[
    [0.5, -1.25, 2.0, 0.25], [1.5, 0.75, -0.5, 1.0], [-2.0, 0.125, 0.5, -0.75], [1.0, 1.0, -1.0, 0.5],
    [0.25, -0.5, 0.75, -1.0], [2.0, 1.5, 1.0, 0.5], [-0.25, 0.0, 0.25, 0.5], [3.0, -3.0, 1.0, -1.0]]> : tensor<8x4xf32>
  %bias = arith.constant dense<1.0> : tensor<4x4xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x4xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x4xf32>) -> tensor<4x4xf32>
  %product = linalg.matmul ins(%x, %weights : tensor<4x8xf32>, tensor<8x4xf32>) outs(%zeros : tensor<4x4xf32>) -> tensor<4x4xf32>
  %y = arith.addf %product, %bias : tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}
