"""Operations of IREE and of others in one form: dispatches by their main operation, in the order of the model."""

from __future__ import annotations

from matrix.answers.peers.operations import SystemTimes
from matrix.answers.peers.sides import shape_of, worked_by_dispatches, worked_by_system
from matrix.answers.timing.joined import CellTimes, TimedProfile
from matrix.artifacts.runtimes.operation_times import OperationTimes, Spread, TimedOperation
from matrix.artifacts.timings.dispatch_times import DispatchTimes, Invocation
from matrix.results.measured.profiled_code import CodeProfile, ModelOperation, ProfiledDispatch, ProfiledModel
from matrix.results.measured.profiles import profile_of

MODEL = ProfiledModel(
    source="module.mlir",
    operations=(
        ModelOperation(line=9, name="torch.aten.convolution", result="1x8x4x4xf32", digest="c"),
        ModelOperation(line=12, name="torch.aten.relu", result="1x8x4x4xf32", digest="r"),
        ModelOperation(line=20, name="torch.aten.linear", result="1x10xf32", digest="l"),
    ),
)


def timed(dispatches: dict[str, dict[str, int]], *call: tuple[str, int]) -> TimedProfile:
    """Name of a dispatch -> its instructions by line; the invocations of a call with their least nanoseconds."""
    rows = tuple(
        ProfiledDispatch(name=name, instructions=sum(parts.values()), calls=1, operations=parts)
        for name, parts in dispatches.items()
    )
    code = CodeProfile(instructions=5000, mlir="m", dispatches=rows)
    invocations = tuple(Invocation(name=name, nanoseconds=(ns, ns), least=ns) for name, ns in call)
    traced = DispatchTimes(method="tracy", calls=2, invocations=invocations)
    return TimedProfile(profile=profile_of({"model": "conv"}, code, MODEL), times=CellTimes(traced=traced))


def told(found: TimedProfile) -> list[tuple[str, str, tuple[int, ...], int]]:
    rows = worked_by_dispatches(found)
    return [(each.name, each.kind, each.shape, round(each.seconds * 1e9)) for each in rows]


CONV, PACK, LINEAR, COPY = (f"main$async_dispatch_{name}" for name in ("1_conv", "0_pack", "3_linear", "2_copy"))
DISPATCHES = {CONV: {"9": 900, "12": 60}, PACK: {"9": 100}, LINEAR: {"20": 90}}


def test_dispatches_in_a_row_with_one_main_operation_are_it_together():
    found = told(timed(DISPATCHES, (PACK, 1000), (CONV, 2000), (COPY, 40), (LINEAR, 500)))
    assert found == [
        ("module.mlir:9 torch.aten.convolution", "convolution", (1, 8, 4, 4), 3000),
        ("dispatch_2_copy", "other", (), 40),
        ("module.mlir:20 torch.aten.linear", "matmul", (1, 10), 500),
    ]


def test_operations_with_the_same_code_are_one_each():
    """They are one dispatch, invoked for each of them: its sum is of no operation."""
    found = told(timed(DISPATCHES, (CONV, 2000), (CONV, 2100), (LINEAR, 500)))
    assert [seconds for *_, seconds in found] == [2000, 2100, 500]


def test_kinds_of_other_systems_are_those_of_iree():
    took = Spread(seconds=2e-6, low=1e-6, high=3e-6, least=1e-6)
    names = ("Conv", "FusedConv", "NhwcFusedConv", "GroupConvolution", "Gemm", "FullyConnected", "MatMul", "Softmax")
    names += ("MVN", "LayerNormalization", "ScaledDotProductAttention", "ReduceMean", "ReorderOutput", "Add")
    operations = tuple(TimedOperation(name=name, kind=name, took=took, shape=(1, 2)) for name in names)
    times = OperationTimes(samples=30, calls_in_each=1, call=took, cpu=1e-6, operations=operations)
    found = worked_by_system(SystemTimes(axes={"backend": "onnxruntime"}, times=times))
    assert [each.kind for each in found] == [
        *["convolution"] * 4,
        *["matmul"] * 3,
        "softmax",
        *["normalization"] * 2,
        "attention",
        "reduction",
        "other",
        "elementwise",
    ]
    assert {each.seconds for each in found} == {1e-6}, "the least, as of a dispatch"


def test_a_shape_is_read_from_the_type_of_a_result():
    assert shape_of("1x32x112x112xf32") == (1, 32, 112, 112)
    assert shape_of("f32") == () == shape_of("")
    assert shape_of("?x32xf32") == ()
