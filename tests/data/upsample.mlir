module @net {
  func.func @main(%arg0: !torch.vtensor<[1,2,4,4],f32>, %arg1: !torch.vtensor<[1,2,4,4],f32>) -> !torch.vtensor<[1,2,8,8],f32> attributes {torch.assume_strict_symbolic_shapes} {
    %int1 = torch.constant.int 1
    %none = torch.constant.none
    %float2 = torch.constant.float 2.000000e+00
    %0 = torch.vtensor.literal(dense_resource<scale> : tensor<1x2x1x1xf32>) : !torch.vtensor<[1,2,1,1],f32>
    %1 = torch.vtensor.literal(dense<5.000000e-01> : tensor<1x2x1x1xf32>) : !torch.vtensor<[1,2,1,1],f32>
    %2 = torch.aten.mul.Tensor %arg0, %0 : !torch.vtensor<[1,2,4,4],f32>, !torch.vtensor<[1,2,1,1],f32> -> !torch.vtensor<[1,2,4,4],f32>
    %3 = torch.aten.add.Tensor %2, %arg1, %int1 : !torch.vtensor<[1,2,4,4],f32>, !torch.vtensor<[1,2,4,4],f32>, !torch.int -> !torch.vtensor<[1,2,4,4],f32>
    %4 = torch.aten.relu %3 : !torch.vtensor<[1,2,4,4],f32> -> !torch.vtensor<[1,2,4,4],f32>
    %5 = torch.aten.tanh %4 : !torch.vtensor<[1,2,4,4],f32> -> !torch.vtensor<[1,2,4,4],f32>
    %6 = torch.prim.ListConstruct %float2, %float2 : (!torch.float, !torch.float) -> !torch.list<float>
    %7 = torch.aten.upsample_nearest2d.vec %5, %none, %6 : !torch.vtensor<[1,2,4,4],f32>, !torch.none, !torch.list<float> -> !torch.vtensor<[1,2,8,8],f32>
    %8 = torch.aten.relu %7 : !torch.vtensor<[1,2,8,8],f32> -> !torch.vtensor<[1,2,8,8],f32>
    %9 = torch.aten.mul.Tensor %8, %1 : !torch.vtensor<[1,2,8,8],f32>, !torch.vtensor<[1,2,1,1],f32> -> !torch.vtensor<[1,2,8,8],f32>
    return %9 : !torch.vtensor<[1,2,8,8],f32>
  }
}

{-#
  dialect_resources: {
    builtin: {
      scale: "0x040000000000003F0000803F"
    }
  }
#-}
