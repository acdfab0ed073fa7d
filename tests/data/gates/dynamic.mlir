// Dynamic shapes, a loop whose end depends on data, a fill: imports that a static layer does not have.
func.func @dynamic(%x: tensor<?x8xf32>, %n: tensor<i32>) -> (tensor<?x8xf32>, tensor<?x16xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : i32
  %zero = arith.constant 0 : i32
  %rows = tensor.dim %x, %c0 : tensor<?x8xf32>
  %end = tensor.extract %n[] : tensor<i32>
  %y, %i = scf.while (%v = %x, %k = %zero) : (tensor<?x8xf32>, i32) -> (tensor<?x8xf32>, i32) {
    %go = arith.cmpi slt, %k, %end : i32
    scf.condition(%go) %v, %k : tensor<?x8xf32>, i32
  } do {
  ^bb0(%v: tensor<?x8xf32>, %k: i32):
    %w = arith.addf %v, %v : tensor<?x8xf32>
    %next = arith.addi %k, %c1 : i32
    scf.yield %w, %next : tensor<?x8xf32>, i32
  }
  %pad = tensor.empty(%rows) : tensor<?x16xf32>
  %half = arith.constant 0.5 : f32
  %filled = linalg.fill ins(%half : f32) outs(%pad : tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y, %filled : tensor<?x8xf32>, tensor<?x16xf32>
}
