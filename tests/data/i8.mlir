func.func @main(%x: tensor<16x64xi8>, %w: tensor<64x32xi8>) -> tensor<16x32xi32> {
  %zero = arith.constant 0 : i32
  %empty = tensor.empty() : tensor<16x32xi32>
  %zeros = linalg.fill ins(%zero : i32) outs(%empty : tensor<16x32xi32>) -> tensor<16x32xi32>
  %y = linalg.matmul ins(%x, %w : tensor<16x64xi8>, tensor<64x32xi8>) outs(%zeros : tensor<16x32xi32>) -> tensor<16x32xi32>
  return %y : tensor<16x32xi32>
}
