// A variable that outlives the call, as a cache of keys and values does.
util.global private mutable @state = dense<0.0> : tensor<8xf32>
func.func @state_step(%x: tensor<8xf32>) -> tensor<8xf32> {
  %old = util.global.load @state : tensor<8xf32>
  %new = arith.addf %old, %x : tensor<8xf32>
  util.global.store %new, @state : tensor<8xf32>
  return %old : tensor<8xf32>
}
