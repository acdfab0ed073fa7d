module attributes {stream.affinity.default = #hal.device.affinity<@__device_0>} {
  util.global private @__device_0 = #hal.device.target<"local", [#hal.executable.target<"llvm-cpu", "elf", {map = affine_map<(d0) -> (d0)>, said = "a > b"}>]> : !hal.device
  util.global private @weights = dense_resource<blob> : tensor<4xf32>
  flow.executable private @main$async_dispatch_0 {
    builtin.module {
      %4 = linalg.fill ins(%cst : f32) loc("module.mlir":3:1)
      %5 = linalg.matmul ins(%0, %1) loc(callsite("module.mlir":7:8 at "module.mlir":1:1))
    } loc("module.mlir":7:8)
  } loc("module.mlir":7:8)
  flow.executable private @main$async_dispatch_1 {
  } loc("module.mlir":9:8)
  flow.executable private @main$async_dispatch_2 {
  } loc("module.mlir":9:8)
  util.func public @main$async(%arg0: !hal.buffer_view, %arg1: !hal.fence, %arg2: !hal.fence) -> !hal.buffer_view attributes {iree.abi.stub} {
    %c4 = arith.constant 4 : index loc("module.mlir":1:1)
    %w = util.global.load immutable @weights : tensor<4xf32> loc("module.mlir":1:1)
    %dim = hal.buffer_view.dim<%arg0 : !hal.buffer_view>[0] : index loc("module.mlir":1:1)
    %0 = hal.tensor.import wait(%arg1) => %arg0 : !hal.buffer_view -> tensor<?xf32>{%dim} loc("module.mlir":1:1)
    %1:2 = flow.dispatch @main$async_dispatch_0::@main$async_dispatch_0_a[%dim](%0, %w, %dim) : (tensor<?xf32>{%dim}, tensor<4xf32>, index) -> (tensor<?xf32>{%dim}, tensor<4xi1>) loc(callsite("module.mlir":7:8 at "module.mlir":1:1))
    %2 = flow.dispatch @main$async_dispatch_1::@main$async_dispatch_1_b(%1#0, %1#1, %w) : (tensor<?xf32>{%dim}, tensor<4xi1>, tensor<4xf32>) -> %w loc("module.mlir":9:8)
    %3 = flow.dispatch @main$async_dispatch_2::@main$async_dispatch_2_c(%2) : (tensor<4xf32>) -> tensor<4xf32> loc("module.mlir":9:8)
    %4 = flow.dispatch @main$async_dispatch_2::@main$async_dispatch_2_c(%3) : (tensor<4xf32>) -> tensor<4xf32> loc("module.mlir":11:8)
    %5 = hal.tensor.barrier join(%4 : tensor<4xf32>) => %arg2 : !hal.fence loc("module.mlir":1:1)
    %6 = hal.tensor.export %5 : tensor<4xf32> -> !hal.buffer_view loc("module.mlir":1:1)
    util.return %6 : !hal.buffer_view loc("module.mlir":1:1)
  } loc("module.mlir":1:1)
  util.func public @main(%arg0: !hal.buffer_view) -> !hal.buffer_view {
    %1 = util.call @main$async(%arg0, %0, %fence) : (!hal.buffer_view) -> !hal.buffer_view
    util.return %1 : !hal.buffer_view
  } loc("module.mlir":1:1)
} loc("module.mlir":1:1)
{-#
  dialect_resources: {
    builtin: {
      blob: "0x0400",
      other: "0x0401"
    }
  }
#-}
