func.func @main(%x: tensor<4x64xf16>, %w: tensor<64x32xf16>) -> tensor<4x32xf16> {
  %zero = arith.constant 0.0 : f16
  %empty = tensor.empty() : tensor<4x32xf16>
  %zeros = linalg.fill ins(%zero : f16) outs(%empty : tensor<4x32xf16>) -> tensor<4x32xf16>
  %y = linalg.matmul ins(%x, %w : tensor<4x64xf16>, tensor<64x32xf16>) outs(%zeros : tensor<4x32xf16>) -> tensor<4x32xf16>
  return %y : tensor<4x32xf16>
}
