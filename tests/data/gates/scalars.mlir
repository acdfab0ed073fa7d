// Arithmetic of the VM itself, in both widths: the modules ask for the VM's float features.
func.func @scalars(%a: f32, %b: f64, %c: i64) -> (f32, f64, i64) {
  %d = arith.mulf %a, %a : f32
  %e = arith.addf %b, %b : f64
  %f = arith.muli %c, %c : i64
  return %d, %e, %f : f32, f64, i64
}
