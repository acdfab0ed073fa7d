"""Targets as records: what their keys stand for, what is refused, and what a plan makes of an emulated one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from samples import catalogue, spec_of

from matrix.core.errors import SpecError, UsageError
from matrix.core.records import Board, Environment, Job, Outcome, Platform, Stage
from matrix.engines.contract import tool_line
from matrix.plan.axes import axis_value
from matrix.plan.catalogue import Catalogue
from matrix.plan.graph import Plan, make_plan
from matrix.plan.rounds import with_repeats
from matrix.plan.spec import Spec, parse_spec
from matrix.plan.stages import joined_flags, make_job
from matrix.plan.targets import Target
from matrix.run.planning import load_catalogue, on_devices

HEAD = 'format = 1\nname = "mine"\nquestion = "Does it run?"\n'
BOARD = """
[targets.board]
triple = "riscv64-linux-gnu"
cpu = "generic-rv64"
features = ["+m", "+d"]
abi = "lp64d"
emulator = ["tools/qemu-riscv64", "-cpu", "rv64", "-L", "{sysroot}"]
sysroot = "root"
[axes]
model = "given"
target = "board"
"""
COUNTED = ("-plugin", "{counter}", "-L", "{sysroot}")
LAVAPIPE = (
    '--iree-hal-target-device=#hal.device.target<"vulkan", [#hal.executable.target<"vulkan-spirv", "vulkan-spirv-fb", '
    '{iree_codegen.target_info = #iree_gpu.target<arch = "vp_android_baseline_2022", features = "spirv:v1.3,cap:Shader"'
    ", wgp = <compute = fp32|int32, storage = b32, subgroup = none, subgroup_size_choices = [8], max_workgroup_sizes = "
    "[128, 128, 64], max_thread_count_per_workgroup = 128, max_workgroup_memory_bytes = 16384, max_workgroup_counts = "
    "[65535, 65535, 65535]>>}>]>"
)
LAVAPIPE_DEVICE = "--device=vulkan://GPU-" + b"mesa22.3.6".hex().ljust(32, "0")
QEMU = ("qemu-aarch64-static", "-cpu", "cortex-a53", "-L", "{sysroot}")


def mine(body: str) -> Spec:
    return parse_spec(HEAD + body, source="mine.toml", base=Path("/specs"))


def known(spec: Spec, machine: str = "x86_64") -> Catalogue:
    shipped = load_catalogue(spec_of()).targets
    return dataclasses.replace(catalogue(machine), targets={**shipped, **spec.targets})


def planned(spec: Spec, machine: str = "x86_64") -> Plan:
    return make_plan(spec, known(spec, machine))


def flags_of(axis: str, release: str, stage: Stage) -> tuple[str, ...]:
    """The flags of the stage for a release and lavapipe."""
    spec = spec_of()
    shipped = load_catalogue(spec)
    values = [
        axis_value(name, label, spec, shipped) for name, label in (("target", "vulkan-lavapipe"), (axis, release))
    ]
    return joined_flags([value.parts[stage] for value in values])


def run_job(plan: Plan) -> Job:
    (node,) = [node for node in plan.nodes if node.stage == "run"]
    artifacts = {"module.vmfb": "v", "input_0.npy": "i", "expected_0.npy": "e"}
    return make_job(node, environment="e", artifacts=artifacts)


def test_the_shipped_targets_stand_for_these_flags():
    targets = load_catalogue(spec_of()).targets
    assert targets == {
        "x86_64": Target(
            name="x86_64",
            machine="x86_64",
            flags={
                "compile": ("--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=x86-64-v3"),
                "run": ("--device=local-sync",),
            },
            counter=("qemu-x86_64", "-cpu", "max", *COUNTED),
        ),
        "aarch64": Target(
            name="aarch64",
            machine="aarch64",
            flags={
                "compile": (
                    "--iree-hal-target-backends=llvm-cpu",
                    "--iree-llvmcpu-target-triple=aarch64-linux-gnu",
                    "--iree-llvmcpu-target-cpu=generic",
                ),
                "run": ("--device=local-sync",),
            },
            emulator=QEMU,
            counter=("qemu-aarch64", "-cpu", "cortex-a53", *COUNTED),
        ),
        "armv6": Target(
            name="armv6",
            machine="arm",
            flags={
                "compile": (
                    "--iree-hal-target-backends=llvm-cpu",
                    "--iree-llvmcpu-target-triple=armv6-linux-gnueabi",
                    "--iree-llvmcpu-target-cpu=generic",
                    "--iree-llvmcpu-target-cpu-features=+v6,+vfp2",
                    "--iree-llvmcpu-target-float-abi=soft",
                ),
                "run": ("--device=local-sync",),
            },
            emulator=("qemu-arm-static", "-cpu", "arm1176", "-L", "{sysroot}"),
            packages="armel/usr/arm-linux-gnueabi",
            counter=("qemu-arm", "-cpu", "arm1176", *COUNTED),
        ),
        "armv7": Target(
            name="armv7",
            machine="arm",
            flags={
                "compile": (
                    "--iree-hal-target-backends=llvm-cpu",
                    "--iree-llvmcpu-target-triple=armv7a-linux-gnueabi",
                    "--iree-llvmcpu-target-cpu=generic",
                    "--iree-llvmcpu-target-cpu-features=+neon,+vfp4",
                    "--iree-llvmcpu-target-float-abi=soft",
                ),
                "run": ("--device=local-sync",),
            },
            emulator=("qemu-arm-static", "-cpu", "cortex-a7"),
        ),
        "riscv64": Target(
            name="riscv64",
            machine="riscv64",
            flags={
                "compile": (
                    "--iree-hal-target-backends=llvm-cpu",
                    "--iree-llvmcpu-target-triple=riscv64-linux-gnu",
                    "--iree-llvmcpu-target-cpu=generic-rv64",
                    "--iree-llvmcpu-target-cpu-features=+m,+a,+f,+d,+c",
                    "--iree-llvmcpu-target-abi=lp64d",
                ),
                "run": ("--device=local-sync",),
            },
            emulator=("qemu-riscv64-static", "-cpu", "sifive-u54"),
        ),
        "cortex-m": Target(
            name="cortex-m",
            machine="armv7e-m",
            flags={
                "compile": (
                    "--iree-hal-target-backends=llvm-cpu",
                    "--iree-llvmcpu-target-triple=thumbv7em-none-eabihf",
                    "--iree-llvmcpu-target-cpu=cortex-m4",
                    "--iree-llvmcpu-target-float-abi=hard",
                    "--iree-vm-target-index-bits=32",
                ),
                "run": ("--device=local-sync",),
                "firmware": (
                    "-Wl,--defsym,flash_origin=0x00000000",
                    "-Wl,--defsym,flash_bytes=0x400000",
                    "-Wl,--defsym,ram_origin=0x20000000",
                    "-Wl,--defsym,ram_bytes=0x400000",
                    "-Wl,--defsym,stack_bytes=0x8000",
                ),
            },
            emulator=(
                *(
                    "qemu-system-arm",
                    "-M",
                    "mps2-an386",
                    "-nodefaults",
                    "-nographic",
                    "-monitor",
                    "none",
                    "-serial",
                    "none",
                ),
                *("-nic", "none", "-icount", "shift=0", "-semihosting-config", "enable=on,target=native"),
                *("-kernel", "{program}", "-append", "{arguments}"),
            ),
        ),
        "vulkan-lavapipe": Target(
            name="vulkan-lavapipe",
            machine="x86_64",
            flags={"compile": (LAVAPIPE,), "run": (LAVAPIPE_DEVICE,)},
            driver="lavapipe",
        ),
        "vulkan-swiftshader": Target(
            name="vulkan-swiftshader",
            machine="x86_64",
            flags={"compile": (LAVAPIPE.replace("[8]", "[4]"),), "run": ("--device=vulkan",)},
            driver="swiftshader",
        ),
        "vulkan": Target(
            name="vulkan",
            machine="",
            flags={"compile": ("--iree-hal-target-device=vulkan",), "run": ("--device=vulkan",)},
            device="vulkan",
        ),
        "cuda": Target(
            name="cuda",
            machine="",
            flags={
                "compile": ("--iree-hal-target-device=cuda", "--iree-cuda-target=sm_80"),
                "run": ("--device=cuda",),
            },
            device="cuda",
        ),
        "rocm": Target(
            name="rocm",
            machine="",
            flags={
                "compile": ("--iree-hal-target-device=hip", "--iree-rocm-target=gfx942"),
                "run": ("--device=hip",),
            },
            device="rocm",
        ),
    }


def test_a_users_target_is_such_a_record():
    board = mine(BOARD).targets["board"]
    assert board.machine == "riscv64"
    assert board.flags["compile"] == (
        "--iree-hal-target-backends=llvm-cpu",
        "--iree-llvmcpu-target-triple=riscv64-linux-gnu",
        "--iree-llvmcpu-target-cpu=generic-rv64",
        "--iree-llvmcpu-target-cpu-features=+m,+d",
        "--iree-llvmcpu-target-abi=lp64d",
    )


def test_a_literal_flag_takes_the_place_of_a_key():
    target = mine('[targets.v]\ncpu="generic"\ncompile=["--iree-hal-target-backends=vmvx", "-O3"]').targets["v"]
    assert target.flags["compile"] == ("--iree-llvmcpu-target-cpu=generic", "--iree-hal-target-backends=vmvx", "-O3")


@pytest.mark.parametrize(("table", "said"), [
    ("[targets.b]\ntripel='x'", "targets.b.tripel: unknown key 'tripel', expected one of machine, triple,"),
    ("[targets.b]\nemulator=['qemu-arm']", "targets.b.emulator: read ['qemu-arm'] without `machine` or `triple`"),
    ("[targets.b]\nmachine='m'\nsysroot='r'", "targets.b.sysroot: read 'r', which no word of `emulator` names"),
    ("[targets.b]\nmachine='m'\nemulator=['q','{root}']", "targets.b.emulator[1]: read '{root}', expected no other"),
    ("[targets.b]\nmachine='m'\nssh='-oProxyCommand=x'", "targets.b.ssh: read '-oProxyCommand=x', expected OpenSSH's"),
    ("[targets.b]\nssh='pi@zero'", "targets.b.ssh: read 'pi@zero' without `machine` or `triple`, expected one of them"),
    ("[targets.b]\nmachine='m'\nssh='a'\nemulator=['q']", "targets.b.emulator: read ['q'] beside `ssh`, expected one"),
    ("[targets.b]\nmachine='m'\nssh='a'\ndriver='d'", "targets.b.driver: read 'd' beside `ssh`, expected one of them"),
    ("[targets.b]\ndevice='gpu'", "targets.b.device: read 'gpu', expected one of cuda, rocm, vulkan"),
    ("[targets.b]\nmachine='m'\nssh='a'\ndevice='cuda'", "targets.b.device: read 'cuda' beside `ssh` or `emulator`"),
    ("[targets.b]\ndriver='d'", "targets.b.driver: read 'd' without `machine` or `triple`, expected one of them"),
    ("[targets.b]\nssh_config='c'", "targets.b.ssh_config: read 'c' without `ssh`, expected both"),
    ("[targets.b]\nemulator=[3]", "targets.b.emulator[0]: read the number 3, expected a text"),
    ("[targets.host]\ncpu='x'", "targets.host: 'host' means something else on the axis"),
    ("[targets.'a b']\ncpu='x'", "targets.a b: read 'a b', expected a name of letters"),
    ("targets=3", "targets: read 3, expected a table"),
])  # fmt: skip
def test_faults_name_their_place(table, said):
    with pytest.raises(SpecError) as caught:
        mine(table)
    assert said in str(caught.value)


def test_a_target_hides_no_shipped_one():
    with pytest.raises(
        SpecError, match=r"targets\.aarch64: 'aarch64' is shipped, expected a name of its own"
    ) as caught:
        load_catalogue(mine('[targets.aarch64]\ncpu="cortex-a76"'))
    assert "another name" in caught.value.tip


def test_a_boards_runs_go_to_it_and_no_key_names_its_host():
    spec = mine("[targets.desk]\nmachine='x86_64'\nssh='pi@zero'\n[axes]\nmodel='given'\ntarget='desk'")
    plan = planned(spec)
    (request,) = [node.request for node in plan.nodes if node.stage == "run"]
    board = Board(target="desk", ssh="pi@zero")
    assert request and request.platform == Platform(machine="x86_64", emulator=(), board=board)
    assert run_job(plan).argv[0] == "iree-run-module"
    there = plan.axes["target"][0]
    assert (there.untested, there.untimed, there.note) == ("", "", "measured on a board, over SSH")
    elsewhere = planned(mine("[targets.desk]\nmachine='x86_64'\nssh='pi@one'\n[axes]\nmodel='given'\ntarget='desk'"))
    assert run_job(elsewhere).key == run_job(plan).key


def test_a_device_is_found_through_its_driver_where_its_modules_run():
    plan = planned(spec_of("[axes]\nmodel='given'\ntarget='vulkan-lavapipe'"))
    drivers = {node.stage: node.request and node.request.driver for node in plan.nodes}
    assert drivers == {"compile": "", "run": "lavapipe"}
    assert run_job(plan).argv[-1] == LAVAPIPE_DEVICE.replace("GPU-", "")  # of an older runtime
    (there,) = planned(spec_of("[axes]\nmodel='given'\ntarget='vulkan-lavapipe'"), machine="aarch64").axes["target"]
    assert there.untested == "vulkan-lavapipe modules need a x86_64 machine; this one is aarch64"


@pytest.mark.parametrize(("target", "device"), [("cuda", "CUDA"), ("rocm", "ROCM")])
def test_a_machine_without_the_device_compiles_for_it_and_loads_the_module_with_another(target, device):
    spec = spec_of(f"[axes]\nmodel='given'\ntarget='{target}'")
    compiled, loaded = planned(spec).nodes
    assert (compiled.obstacle, loaded.obstacle, loaded.flags) == (None, None, ("--device=local-sync",))
    assert dict(loaded.parameters)["absent"] == f"no {device} device here"
    assert loaded.request.driver == ""
    there = make_plan(spec, dataclasses.replace(known(spec), devices=frozenset({target})))
    assert {node.obstacle for node in there.nodes} == {None}
    _, run = there.nodes
    assert run.flags == (f"--device={'hip' if target == 'rocm' else target}",)
    assert (run.request.driver, "absent" in dict(run.parameters)) == (target, False)


def test_what_measures_on_a_device_that_is_not_there_stays_untested():
    axes = "[axes]\nmodel='given'\ntarget='cuda'\n[benchmark]\nbaseline={compiler='3.0.0'}"
    spec = spec_of(f"stages=['export','compile','run','benchmark']\n{axes}")
    obstacles = {node.stage: node.obstacle for node in with_repeats(planned(spec), known(spec)).nodes}
    assert obstacles == {"compile": None, "run": None, "benchmark": (Outcome.UNTESTED, "no CUDA device here")}


def test_a_device_by_its_name_is_a_value_of_the_axis():
    spec = spec_of("[axes]\nmodel='given'\ntarget=['vulkan', 'vulkan://GPU-1f']")
    there = dataclasses.replace(
        catalogue("x86_64"), targets=load_catalogue(spec).targets, devices=frozenset({"vulkan"})
    )
    plan = make_plan(spec, there)
    assert [value.label for value in plan.axes["target"]] == ["vulkan", "vulkan://GPU-1f"]
    runs = [node.flags[-1] for node in plan.nodes if node.stage == "run"]
    assert runs == ["--device=vulkan", "--device=vulkan://1f"]  # as an older runtime has it
    assert len([node for node in plan.nodes if node.stage == "compile"]) == 1
    assert on_devices("target", ("vulkan",), ["GPU-1f", "vulkan://0"]) == ("vulkan://GPU-1f", "vulkan://0")
    for terms in ((), ("x86_64",), ("cuda", "rocm")):
        with pytest.raises(UsageError, match="--device: read it"):
            on_devices("target", terms, ["0"])


def test_an_older_compiler_knows_rocm_by_the_name_of_hip():
    spec = spec_of()
    shipped = load_catalogue(spec)
    target, old = (axis_value(*pair, spec, shipped) for pair in (("target", "rocm"), ("compiler", "3.11.0")))
    assert joined_flags([target.parts["compile"], old.parts["compile"]])[-1] == "--iree-hip-target=gfx942"


@pytest.mark.parametrize(("compiler", "own"), [
    ("3.6.0", ("iree.gpu.target = #iree_gpu.target<", "dot = none, mma = [], subgroup_size_choices = [8]")),
    ("3.7.0", ("iree_codegen.target_info = #iree_gpu.target<", "subgroup = none, subgroup_size_choices = [8]")),
])  # fmt: skip
def test_an_older_compiler_gets_the_words_that_it_knows(compiler, own):
    (flag,) = flags_of("compiler", compiler, "compile")
    assert all(word in flag for word in own)


@pytest.mark.parametrize(("runtime", "device"), [("3.11.0", "vulkan://6d65"), ("3.12.0", "vulkan://GPU-6d65")])
def test_an_older_runtime_gets_the_device_as_it_names_it(runtime, device):
    (flag,) = flags_of("runtime", runtime, "run")
    assert flag.startswith(f"--device={device}")


def test_another_machines_runs_are_emulated_and_the_key_holds_the_words():
    spec = spec_of("[axes]\nmodel='given'\ntarget=['x86_64', 'aarch64']")
    plan = planned(spec)
    native, emulated = [node.request for node in plan.nodes if node.stage == "run"]
    assert native and emulated
    assert native.platform is None
    assert emulated.platform == Platform(machine="aarch64", emulator=QEMU)
    assert {node.request and node.request.platform for node in plan.nodes if node.stage == "compile"} == {None}
    assert not [node for node in plan.nodes if node.obstacle]
    job = run_job(planned(spec_of("[axes]\nmodel='given'\ntarget='aarch64'")))
    assert job.argv[: len(QEMU) + 2] == (*QEMU, "iree-run-module", "--module=module.vmfb")


def test_the_same_machine_needs_no_emulator():
    plan = planned(spec_of("[axes]\nmodel='given'\ntarget='aarch64'"), machine="aarch64")
    assert {node.request and node.request.platform for node in plan.nodes} == {None}
    assert run_job(plan).argv[0] == "iree-run-module"


def test_paths_of_a_target_are_the_specs_and_not_in_a_command():
    plan = planned(mine(BOARD))
    (node,) = [node for node in plan.nodes if node.stage == "run"]
    assert node.request
    assert node.request.platform == Platform(
        machine="riscv64",
        emulator=("qemu-riscv64", "-cpu", "rv64", "-L", "{sysroot}"),
        program="/specs/tools/qemu-riscv64",
        sysroot=Path("/specs/root"),
    )
    assert not [word for word in run_job(plan).argv if "/specs" in word]


def test_without_an_emulator_it_is_untested_and_with_one_it_is_never_timed():
    alone = planned(mine(BOARD.replace("emulator =", "# ").replace("sysroot =", "# ")))
    assert alone.nodes[-1].obstacle == (Outcome.UNTESTED, "board modules need a riscv64 machine; this one is x86_64")
    for plan in (alone, planned(mine(BOARD))):
        (value,) = [value for value in plan.cells[0].values if value.axis == "target"]
        assert value.untimed.startswith("no times: board modules need a riscv64 machine")


def test_a_target_without_a_machine_runs_anywhere():
    spec = mine('[targets.old]\ncpu="x86-64"\n[axes]\nmodel="given"\ntarget="old"')
    assert not [node for node in planned(spec).nodes if node.obstacle or (node.request and node.request.platform)]


def test_the_emulator_stands_before_the_tool():
    environment = Environment(
        request_label="",
        engine="venv",
        digest="",
        root=Path("/store/env"),
        python_version="",
        c_library="",
        tools={"iree-run-module": "site/iree-run-module"},
        distributions=(),
        launcher=("{root}/emulator", "-L", "{root}/sysroot"),
    )
    line = tool_line(("qemu", "-L", "{sysroot}", "iree-run-module", "--help"), environment)
    assert line == ("/store/env/emulator", "-L", "/store/env/sysroot", "/store/env/site/iree-run-module", "--help")
