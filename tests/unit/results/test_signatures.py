"""Every row of the backends' signatures against the real words of the tools.

The messages were printed by iree-base-compiler and iree-base-runtime 2.9 to 3.13, by CPython and by glibc's loader
(2026-11-21), those of the older releases by iree-runtime 20230209.425 to 20241104.1068 (2026-11-22), those of ONNX
Runtime by 1.15.1 and 1.17.3, those of LiteRT by 1.0.1 and 2.3.0 (2026-11-23). Three that this machine cannot provoke
are the format strings of the 3.8 binaries, filled in: `elf-imports`, `executable-format`, and the second of
`import-missing`.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hostile_lines import hostile_logs, longest_repeats, tree_of
from pace import allowed
from samples import result

from matrix.core.records import Outcome
from matrix.plan.stages import backends
from matrix.results import signatures
from matrix.results.files import run_files
from matrix.results.run import Run
from matrix.results.signatures import LONGEST_LOG, SignatureRow, recognise, rows, signature_of
from matrix.results.square import OUTCOME_MARKS

RESULTS = Path(__file__).parents[3] / "results"
VM, TOOLING = "c/runtime/src/iree/vm", "c/runtime/src/iree/tooling"
ENTERING = "resolving module 'module' imports; creating VM context; creating run context"
LOADING = "loading bytecode module at 'module.vmfb'; loading modules and dependencies; creating run context"
SHAPES = "expected shape `4x64`, actual shape `7x7`; while invoking native function hal.buffer_view.assert"
MATRICES = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x2)"
BACKENDS = "[cuda, llvm-cpu, metal-spirv, rocm, vmvx, vmvx-inline, vulkan-spirv]"
DEVICE = "<vm>:0: INCOMPATIBLE; HAL device `__device_0` not found or unavailable: #hal.device.target"

REAL: list[tuple[str, str, dict[str, str]]] = [
    ("disk-full", "error opening input file: No space left on device", {}),
    ("disk-full", "LLVM ERROR: IO failure on output stream: No space left on device", {}),
    ("disk-full", "OSError: [Errno 28] No space left on device: 'input_0.npy'", {}),
    (
        "count-refused",
        "counter: refused: AVX-512 code, which this emulator does not have: compile for x86-64-v3 or less",
        {"reason": "AVX-512 code, which this emulator does not have: compile for x86-64-v3 or less"},
    ),
    (
        "times-refused",
        "dispatch times: refused: this runtime has no _runtime_libs_tracy/iree-tracy-capture, which wheels have",
        {"reason": "this runtime has no _runtime_libs_tracy/iree-tracy-capture, which wheels have"},
    ),
    (
        "times-refused",
        "Saving trace... done!\nnot measured: no dispatch ran on the thread that called the module",
        {"reason": "no dispatch ran on the thread that called the module"},
    ),
    (
        "tflite-op",
        "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '99'. An older version of this builtin "
        "might be supported. Are you using an old TFLite binary with a newer model?\nRegistration failed.",
        {"op": "FULLY_CONNECTED", "version": "99"},
    ),
    (
        "tflite-schema",
        "Model provided is schema version 4 not equal to supported version 3.",
        {"has": "4", "supports": "3"},
    ),
    (
        "openvino-opset",
        "Check 'false' failed at src/frontends/common/src/frontend.cpp:53:\nConverting input model\n"
        "[ GENERAL_ERROR ] Cannot create SliceScatter layer SliceScatter_17 id:4 from unsupported opset: opset15\n",
        {"op": "SliceScatter", "opset": "opset15"},
    ),
    (
        "tvm-operation",
        "Unsupported function types ['_linalg_eigh.default']",  # an AssertionError of the stage to-so
        {"operations": "'_linalg_eigh.default'"},
    ),
    (
        "onnx-ir-version",
        "[ONNXRuntimeError] : 1 : FAIL : Load model from converted.onnx failed:/onnxruntime_src/onnxruntime/core/graph/"
        "model.cc:179 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, const onnxruntime::"
        "IOnnxRuntimeOpSchemaRegistryList*, const onnxruntime::logging::Logger&, const onnxruntime::ModelOptions&) "
        "Unsupported model IR version: 10, max supported IR version: 9",
        {"has": "10", "supports": "9"},
    ),
    (
        "onnx-opset",
        "ONNX Runtime only *guarantees* support for models stamped with official released onnx opset versions. Opset "
        "24 is under development and support for this is limited. The operator schemas and or other functionality may "
        "change before next ONNX release and in this case ONNX Runtime will not guarantee backward compatibility. "
        "Current official support for domain ai.onnx is till opset 20.",
        {"has": "24", "supports": "20"},
    ),
    (
        "statistics-unknown",
        "iree-compile: Unknown command line argument '--iree-scheduling-dump-statistics-format=csv'. Try: 'iree-comp",
        {},
    ),
    (
        "phases-unknown",
        "iree-compile: Unknown command line argument '--dump-compilation-phases-to=phases'. Try: 'iree",
        {"flag": "dump-compilation-phases-to"},
    ),
    (
        "phases-refused",
        "phases: refused: the compiler wrote no file of a phase",
        {"reason": "the compiler wrote no file of a phase"},
    ),
    (
        "vm-bytecode-version",
        f"{VM}/bytecode/verifier.c:184: INVALID_ARGUMENT; bytecode version mismatch; runtime supports 17.0, "
        f"module has 15.0; {LOADING}",
        {"supports": "17.0", "has": "15.0"},
    ),
    (
        "vm-features",
        f"{VM}/bytecode/verifier.c:40: INVALID_ARGUMENT; required module features [Ch] are not available in this "
        f"runtime configuration; have [EXT_F32|EXT_F64] while module requires [Ch]; {LOADING}",
        {"have": "EXT_F32|EXT_F64"},
    ),
    (
        "module-version",
        f"{VM}/context.c:139: NOT_FOUND; required module 'hal' version mismatch; have 5 but require 6; {ENTERING}",
        {"name": "hal", "have": "5", "require": "6"},
    ),
    (
        "import-signature",
        f"{VM}/context.c:239: INTERNAL; import function hal.command_buffer.execution_barrier signature mismatch "
        f"between module and source hal; expected 0riii_v but got 0riiI_v; {ENTERING}",
        {"function": "hal.command_buffer.execution_barrier", "expected": "0riii_v", "got": "0riiI_v"},
    ),
    ("kernel-hwprobe", "riscv_hwprobe syscall failed", {}),
    (
        "board-memory",
        "the model needs at least 14,129,328 bytes of flash, and the board has 4,194,304 bytes",
        {"needed": "14,129,328", "kind": "flash", "has": "4,194,304"},
    ),
    (
        "board-link",
        "arm-none-eabi/bin/ld: region `FLASH' overflowed by 123456 bytes",
        {"kind": "FLASH", "bytes": "123456"},
    ),
    (
        "board-heap",
        "firmware: the heap has 31112 bytes of 98304, and 1048580 more are asked for",
        {"used": "31112", "has": "98304", "more": "1048580"},
    ),
    ("board-fault", "firmware: fault, CFSR 00080000", {"cfsr": "00080000"}),
    (
        "cmake-old",
        "CMake Error at CMakeLists.txt:7 (cmake_minimum_required):\n  CMake 3.26 or higher is required.  "
        "You are running version 3.25.1\n",
        {"wanted": "3.26", "version": "3.25.1"},
    ),
    (
        "cc-broken",
        'CMake Error at CMakeTestCCompiler.cmake:65 (message):\n  The C compiler\n\n    "{toolchain}/usr/bin/'
        'riscv64-linux-gnu-gcc"\n\n  is not able to compile a simple test program.\n',
        {"language": "C", "compiler": "usr/bin/riscv64-linux-gnu-gcc"},
    ),
    (
        "c-error",
        "[89/385] Building C object mmt4d_riscv_64_v.c.o\n{source}/runtime/src/iree/mmt4d_riscv_64_v.c:7:10: fatal "
        "error: riscv_vector.h: No such file or directory\n    7 | #include <riscv_vector.h>\n",
        {
            "file": "runtime/src/iree/mmt4d_riscv_64_v.c",
            "text": "riscv_vector.h: No such file or directory",
        },
    ),
    (
        "import-missing",
        f"{VM}/native_module.c:286: NOT_FOUND; no function `nosuch` exported by module `hal`; {ENTERING}",
        {"function": "nosuch", "module": "hal"},
    ),
    (
        "import-missing",
        f"{TOOLING}/modules/resolver.c:71: NOT_FOUND; required module 'nomod' not available in the build (modules "
        "must be registered in order with dependent modules following those they depend upon); resolving "
        "dependencies for 'm'; creating VM context; creating run context",
        {"name": "nomod"},
    ),
    (
        "import-missing",
        f"{VM}/context.c:205: NOT_FOUND; required module 'io_parameters' not registered on the context; {ENTERING}",
        {"name": "io_parameters"},
    ),
    (
        "import-missing",
        f"{VM}/native_module.c:309: NOT_FOUND; no function hal.ex.shared_device exported by module; {ENTERING}",
        {"path": "hal.ex.shared_device"},
    ),
    (
        "type-missing",
        f"{VM}/bytecode/module.c:94: NOT_FOUND; no type registered with name '!hal.descriptor_set_layout'; {LOADING}",
        {"type": "!hal.descriptor_set_layout"},
    ),
    (
        "type-missing",  # 20230404.479 says no more
        f"{VM}/bytecode/module.c:93: NOT_FOUND; no type registered with name '!hal.file'",
        {"type": "!hal.file"},
    ),
    (
        "vm-opcode",
        f"{VM}/bytecode/verifier.c:1870: INVALID_ARGUMENT; unrecognized opcode 131; at module.main+00000158; {LOADING}",
        {"opcode": "131"},
    ),
    (
        "module-layout",
        f"{VM}/bytecode/verifier.c:27: INVALID_ARGUMENT; FlatBuffer verification failed: vector count exceeds "
        f"representable vector size; {LOADING}",
        {"what": "vector count exceeds representable vector size"},
    ),
    *(
        (
            "module-layout",
            f"{VM}/bytecode_module.c:253: INVALID_ARGUMENT; FlatBuffer verification failed: {what}",
            {"what": what},
        )
        for what in (
            "table header out of range or unaligned",
            "vtable offset out of range or unaligned",
            "vtable header too small",
        )
    ),
    (
        "executable-abi",
        "c/runtime/src/iree/hal/local/loaders/embedded_elf_loader.c:59: FAILED_PRECONDITION; executable does not "
        "support this version of the runtime (00000006); while invoking native function hal.executable.create",
        {"runtime": "00000006"},
    ),
    (
        "elf-imports",
        "c/runtime/src/iree/hal/local/elf/elf_module.c:390: UNAVAILABLE; ELF imports one or more symbols (trying "
        "'expf'); imports are not supported in the platform-agnostic loader",
        {"symbol": "expf"},
    ),
    (
        "executable-format",
        "c/runtime/src/iree/hal/local/local_executable_cache.c:140: NOT_FOUND; no executable loader registered for "
        "the given executable format 'static'",
        {"format": "static"},
    ),
    ("executable-format", "none of the executable binaries in the module are supported by the runtime", {}),
    (
        "device-mismatch",
        f'{DEVICE}<"local", [#hal.executable.target<"llvm-cpu", "embedded-elf-arm_64", {{cpu = "generic", '
        'cpu_features = "+reserve-x18"',
        {"device": "__device_0", "kind": "local", "backend": "llvm-cpu", "format": "embedded-elf-arm_64"},
    ),
    (
        "device-mismatch",  # the module describes its device, and the run has another
        'runtime/src/iree/vm: INCOMPATIBLE; HAL device `#hal.device.target<"vulkan", [#hal.executable.target<'
        '"vulkan-spirv", "vulkan-spirv-fb", {iree_codegen.target_info = #iree_gpu.target<arch = "vp_android_baseline"',
        {"kind": "vulkan", "backend": "vulkan-spirv", "format": "vulkan-spirv-fb"},
    ),
    (
        "executable-header",
        "c/runtime/src/iree/hal/utils/executable_header.c:30: INVALID_ARGUMENT; executable file identifier does not "
        "match; expected `VKE1`; while invoking native function hal.executable.create; while calling import; \n"
        "[ 0] bytecode module.__init:1476 module.mlir:4:44; creating VM context; creating run context",
        {"expected": "VKE1"},
    ),
    (
        "executable-header",
        "c/runtime/src/iree/hal/drivers/vulkan/native_executable.cc:217: INVALID_ARGUMENT; FlatBuffer verification "
        "failed: identifier mismatch; while invoking native function hal.executable.create; while calling import; \n",
        {"older": "identifier mismatch"},
    ),
    (
        "device-hidden",
        "c/runtime/src/iree/hal/drivers/vulkan/vulkan_driver.cc:547: NOT_FOUND; physical device 0 invalid; 1 physical "
        "devices available; 0 visible; creating device 'vulkan'; resolving dependencies for 'module'",
        {"device": "0", "available": "1"},
    ),
    (
        "device-name",
        "c/runtime/src/iree/hal/drivers/vulkan/physical_device_selection.c:138: NOT_FOUND; Vulkan device path '7' not "
        "found; creating device 'vulkan://7'; resolving dependencies for 'module'; creating VM context",
        {"path": "7"},
    ),
    (
        "device-name",
        "c/runtime/src/iree/hal/drivers/vulkan/vulkan_driver.cc:646: NOT_FOUND; Vulkan device with deviceUUID "
        "00000000-0000-0000-0000-000000000001 not found; creating device 'vulkan://00000000000000000000000000000001'",
        {"uuid": "00000000-0000-0000-0000-000000000001"},
    ),
    (
        "device-name",
        "c/runtime/src/iree/hal/drivers/vulkan/vulkan_driver.cc:690: UNIMPLEMENTED; unsupported device path; creating "
        "device 'vulkan://GPU-6d65736132322e332e36000000000000'; resolving dependencies for 'module'",
        {"unsupported": "unsupported device path"},
    ),
    (
        "driver-incompatible",
        "c/runtime/src/iree/hal/drivers/vulkan/physical_device.c:441: UNAVAILABLE; [vkCreateInstance] "
        "VK_ERROR_INCOMPATIBLE_DRIVER; creating device 'vulkan'; resolving dependencies for 'module'",
        {"what": "INCOMPATIBLE_DRIVER"},
    ),
    (
        "driver-incompatible",
        "c/runtime/src/iree/hal/drivers/vulkan/vulkan_driver.cc:251: FAILED_PRECONDITION; VK_ERROR_INCOMPATIBLE_DRIVER"
        "; vkCreateInstance: invalid instance configuration; creating driver for device 'vulkan'",
        {"what": "INCOMPATIBLE_DRIVER"},
    ),
    (
        "device-missing",
        "c/runtime/src/iree/hal/drivers/vulkan/util/libvulkan.c:641: NOT_FOUND; Vulkan loader library not found; "
        "ensure it is installed and on a valid search path (or specified with IREE_HAL_VULKAN_LIBVULKAN_PATH): ",
        {"library": "Vulkan loader library"},
    ),
    (
        "device-missing",
        "c/runtime/src/iree/hal/driver_registry.c:319: NOT_FOUND; no driver 'nosuch' registered; creating driver for "
        "device 'nosuch'; resolving dependencies for 'module'; creating VM context; creating run context",
        {"driver": "nosuch"},
    ),
    (
        "device-missing",
        "c/runtime/src/iree/hal/drivers/cuda/cuda_dynamic_symbols.c:66: UNAVAILABLE; CUDA driver library "
        "'libcuda.so'/'nvcuda.dll' not available; please ensure installed and in dynamic library search path",
        {"library": "CUDA driver library"},
    ),
    (
        "device-missing",
        "c/runtime/src/iree/hal/drivers/vulkan/dynamic_symbols.cc:168: UNAVAILABLE; Vulkan runtime library not "
        "available; ensure installed and on path; creating driver for device 'vulkan'",
        {"library": "Vulkan runtime library"},
    ),
    (
        "unknown-flag",
        "iree-compile: Unknown command line argument '--iree-no-such-flag'.  Try: 'bin/iree-compile --help'\n"
        "iree-compile: Did you mean '--iree-opt-level'?",
        {"flag": "--iree-no-such-flag"},
    ),
    (
        "unknown-flag",
        "\x1b[31mFLAGS ERROR: (╯°□°)╯︵👻\x1b[0m\n"
        "c/runtime/src/iree/base/tooling/flags.c:428: INVALID_ARGUMENT; flag 'no_such_flag' not recognized",
        {"run_flag": "no_such_flag"},
    ),
    (
        "flag-value",
        "iree-compile: for the --iree-opt-level option: 'O9' value not a valid optimization level, use O0/O1/O2/O3",
        {"flag": "--iree-opt-level", "text": "'O9' value not a valid optimization level, use O0/O1/O2/O3"},
    ),
    (
        "flag-value",
        "<unknown>:0: error: unknown custom value for --iree-input-type='nosuch' (available: 'stablehlo_xla' 'onnx')",
        {"value": "--iree-input-type='nosuch'"},
    ),
    (
        "target-backend",
        f"module.mlir:1:1: error: target backend 'nosuch' not registered; registered backends: {BACKENDS}",
        {"backend": "nosuch"},
    ),
    (
        "target-backend",
        "module.mlir:1:1: error: no HAL devices defined in the module; use the module-level hal.device.targets "
        "attribute, the --iree-hal-target-device= flag, or provide inputs with global !hal.devices defined",
        {},
    ),
    (
        "target-cpu",
        "'nosuchcpu' is not a recognized processor for this target (ignoring processor)\n"
        "LLVM ERROR: 64-bit code requested on a subtarget that doesn't support it!",
        {"cpu": "nosuchcpu"},
    ),
    (
        "target-cpu",
        "Unknown CPU for target architecture x86_64.\nList of accepted CPUs: nocona, core2, penryn, bonnell, atom",
        {"architecture": "x86_64"},
    ),
    (
        "target-cpu",
        "createTargetMachine(nosuch-unknown-unknown-eabi-elf) failed; machine may not be enabled in LLVM",
        {"triple": "nosuch-unknown-unknown-eabi-elf"},
    ),
    (
        "unknown-operation",
        "module.mlir:1:89: error: custom op 'torch.aten.nonesuch' is unknown",
        {"operation": "torch.aten.nonesuch"},
    ),
    (
        "unknown-operation",
        "garbage.mlir:1:1: error: custom op 'this' is unknown (tried 'builtin.this' as well)\nthis is not MLIR\n^",
        {"operation": "this"},
    ),
    (
        "tosa-version",
        "#tosa.nan_mode<PROPAGATE>:1:7: error: unknown attribute `nan_mode` in dialect `tosa`\n"
        "#tosa.nan_mode<PROPAGATE>:1:7: note: in bytecode version 6 produced by: MLIR23.0.0git\n",
        {"attribute": "nan_mode"},
    ),
    (
        "tosa-version",
        "!tosa.shape<2>:1:7: error: dialect 'tosa' provides no type parsing hook",
        {"dialect": "tosa"},
    ),
    (
        "tosa-version",
        "module.mlir:0:0: error: expected mlir::tosa::ConvOpQuantizationAttr, but got: loc(unknown)\n"
        "module.mlir:0:0: note: in bytecode version 6 produced by: MLIR23.0.0git\n",
        {"wanted": "tosa::ConvOpQuantizationAttr"},
    ),
    (
        "tosa-version",
        'module.mlir:0:0: error: expected mlir::StringAttr, but got: loc("model.tflite":0:0)\n'
        "module.mlir:0:0: note: in bytecode version 6 produced by: MLIR22.0.0git\n",
        {"wanted": "StringAttr"},
    ),
    (
        "legalization",
        "module.mlir:1:89: error: failed to legalize operation 'torch.operator' that was explicitly marked illegal: "
        '%0 = "torch.operator"(%arg0) <{name = "torch.aten.nonesuch"}>',
        {"operation": "torch.operator"},
    ),
    (
        "undefined-symbol",
        "ImportError: bin/_mlir.cpython-311-x86_64-linux-gnu.so: undefined symbol: mlirAttributeGetNull",
        {"symbol": "mlirAttributeGetNull"},
    ),
    ("undefined-symbol", "lld: error: undefined symbol: fmaf", {"symbol": "fmaf"}),
    (
        "linker",
        "Linking failed; escaped command line returned exit code 256:\n\nld -o dispatch_0.so -nostdlib -static",
        {"status": "256"},
    ),
    ("llvm-error", "LLVM ERROR: out of memory\nAllocation failed", {"text": "out of memory"}),
    (
        "c-assertion",
        'local_task/block_isa.h:215:1: error: static assertion failed: "fixup entries are 4 qwords"',
        {"text": "fixup entries are 4 qwords"},
    ),
    (
        "c-assertion",
        "block_isa.h:215:15: error: static assertion failed due to requirement 'sizeof(struct iree_hal_cmd_fixup_t) == "
        "32': fixup entries are 4 qwords",
        {"text": "fixup entries are 4 qwords"},
    ),
    (
        "c-error",
        "e.c:2:10: fatal error: nothing.h: No such file or directory",
        {"file": "e.c", "text": "nothing.h: No such file or directory"},
    ),
    (
        "cmake-error",
        "CMake Error at CMakeLists.txt:3 (message):\n  Could not find it",
        {"place": "CMakeLists.txt:3", "text": "Could not find it"},
    ),
    (
        "static-constants",
        "static library: the dispatch has 3 bindings, the model 2 arrays",
        {"bindings": "3", "arrays": "2"},
    ),
    (
        "static-dispatches",
        "static library: the module has 36 dispatches, and nothing but the VM knows their order",
        {"count": "36"},
    ),
    (
        "compile-error",
        "module.mlir:1:64: error: type of return operand 0 ('tensor<4xf32>') doesn't match function result type",
        {
            "place": "module.mlir:1:64",
            "text": "type of return operand 0 ('tensor<4xf32>') doesn't match function result type",
        },
    ),
    (
        "c-library",
        "bin/iree-compile: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by bin/x.so)",
        {"version": "GLIBC_2.38"},
    ),
    (
        "c-library",
        "bin/iree-compile: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not found",
        {"version": "GLIBCXX_3.4.32"},
    ),
    (
        "python-import",
        "Traceback (most recent call last):\nModuleNotFoundError: No module named 'iree.turbine'",
        {"module": "iree.turbine"},
    ),
    (
        "python-import",
        "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
        {"text": "libcudart.so.12: cannot open shared object file: No such file or directory"},
    ),
    (  # torch 2.5.1 with turbine 2.3.1
        "name-missing",
        "    from torch.export import (\nImportError: cannot import name 'dynamic_dim' from 'torch.export' "
        "(/env/lib/python3.11/site-packages/torch/export/__init__.py)",
        {"name": "dynamic_dim", "module": "torch.export"},
    ),
    (
        "function-missing",
        f"{VM}/bytecode/module.c:313: NOT_FOUND; no function `nosuch` exported by module; looking up function "
        "'nosuch'; creating run context",
        {"function": "nosuch"},
    ),
    (
        "input-mismatch",
        "EXEC @main\nc/runtime/src/iree/modules/hal/utils/buffer_diagnostics.c:225: INVALID_ARGUMENT; tensor shape "
        f"dimension 0 mismatch; expected 4 but have 7; {SHAPES}",
        {"text": "expected 4 but have 7"},
    ),
    (
        "input-mismatch",
        "c/runtime/src/iree/modules/hal/utils/buffer_diagnostics.c:214: INVALID_ARGUMENT; tensor shape rank mismatch; "
        f"expected 2 but have 1; {SHAPES}",
        {"text": "expected 2 but have 1"},
    ),
    (
        "input-mismatch",
        "c/runtime/src/iree/modules/hal/utils/buffer_diagnostics.c:191: INVALID_ARGUMENT; tensor element type "
        "mismatch; expected f32 (21000020) but have i8 (10000008); while invoking native function hal",
        {"text": "expected f32 (21000020) but have i8 (10000008)"},
    ),
    (
        "input-mismatch",
        "c/runtime/src/iree/modules/hal/utils/buffer_diagnostics.c:225: INVALID_ARGUMENT; input0 shape dimension 0 "
        "mismatch; expected 4 but have 3; expected shape `4x8`, actual shape `3x3`; while invoking native function hal",
        {"text": "expected 4 but have 3"},
    ),
    (
        "input-mismatch",
        f"{VM}/invocation.c:95: INVALID_ARGUMENT; input list and function mismatch; expected 1 arguments but passed "
        "0; invoking function 'main'",
        {"count": "expected 1 arguments but passed 0"},
    ),
    (
        "input-mismatch",
        f"{TOOLING}/function_io.c:255: INVALID_ARGUMENT; function expected fewer input values; parsing input `@x.npy`",
        {},
    ),
    (
        "input-mismatch",
        f"{TOOLING}/function_io.c:509: INVALID_ARGUMENT; invalid tensor specification, requires at least a shape/type "
        "(`4x2xf32=...`); parsing input `hello`; parsing function inputs",
        {},
    ),
    (
        "output-count",
        f"{TOOLING}/function_io.c:1183: OUT_OF_RANGE; 2 outputs specified but the provided variant list only has 1 "
        "elements; outputting results; processing function outputs",
        {"asked": "2", "has": "1"},
    ),
    (
        "module-damaged",
        f"{VM}/bytecode/archive.c:122: INVALID_ARGUMENT; FlatBuffer length prefix out of bounds (prefix is 6460 but "
        f"only 2932 available); {LOADING}",
        {},
    ),
    (
        "module-damaged",
        f"{VM}/bytecode/archive.c:106: INVALID_ARGUMENT; FlatBuffer data is not present or less than 16 bytes (0 "
        f"total); {LOADING}",
        {},
    ),
    (
        "array-damaged",
        f"{TOOLING}/numpy_io.c:56: INVALID_ARGUMENT; npy header magic mismatch; parsing input `@bad.npy`",
        {},
    ),
    (
        "array-damaged",
        f"{TOOLING}/numpy_io.c:303: OUT_OF_RANGE; end-of-file; parsing input `@zero.npy`; parsing function inputs",
        {},
    ),
    (
        "onnx-damaged",
        "google.protobuf.message.DecodeError: Error parsing message with type 'onnx.ModelProto': Wire format was "
        "corrupt",
        {"text": "Error parsing message with type 'onnx.ModelProto': Wire format was corrupt"},
    ),
    (
        "onnx-damaged",
        "onnx.onnx_cpp2py_export.checker.ValidationError: The model does not have an ir_version set properly.",
        {"empty": "The model does not have an ir_version set properly"},
    ),
    (
        "bytecode-form",
        "module.mlir:0:0: error: invalid Attribute index: 63\n"
        "module.mlir:0:0: note: in bytecode version 6 produced by: MLIR23.0.0git\n",
        {"text": "invalid Attribute index: 63"},
    ),
    (
        "bytecode-form",
        'module.mlir:0:0: error: expected mlir::StringAttr, but got: dense<"0xD15110BB9F40D33C1B63293D\n'
        "module.mlir:0:0: note: in bytecode version 6 produced by: MLIR23.0.0git\n",
        {"text": "expected mlir::StringAttr, but got: dense"},
    ),
    (
        "bytecode-form",
        "module.mlir:0:0: error: attempting to parse a byte at the end of the bytecode\n",
        {"text": "attempting to parse a byte at the end of the bytecode"},
    ),
    ("tflite-damaged", 'loc("model.tflite":0:0): error: couldn\'t parse flatbuffer', {}),
    ("module-empty", "e.mlir:0:0: error: outer module does not contain a vm.module op", {}),
    (
        "file-missing",
        "c/runtime/src/iree/base/internal/file_io.c:199: NOT_FOUND; failed to open file 'nosuch.vmfb'; loading",
        {"file": "nosuch.vmfb"},
    ),
    (
        "file-missing",
        "c/runtime/src/iree/io/stdio_stream.c:145: UNKNOWN; unable to open file `nosuch.npy` with mode 2; parsing",
        {"input": "nosuch.npy"},
    ),
    (
        "file-missing",
        "error opening input file: cannot open input file 'nosuch.mlir': No such file or directory",
        {"other": "nosuch.mlir"},
    ),
    (
        "allocation",
        "EXEC @main\nc/runtime/src/iree/base/allocator_libc.c:57: RESOURCE_EXHAUSTED; libc allocator failed the "
        "request; while invoking native function hal.device.queue.alloca; while calling import;",
        {"text": "libc allocator failed the request"},
    ),
    (
        "model-allocation",
        "job_script.ModelFault: inputs() raised RuntimeError: [enforce fail at alloc_cpu.cpp:124] err == 0. "
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 34359738368 bytes. Error code 12",
        {"place": "inputs()"},
    ),
    ("python-memory", "Traceback (most recent call last):\nMemoryError", {}),
    (
        "model-dtype",
        "job_script.ModelFault: the model gave a tensor of torch.float8_e4m3fn at place 0, expected a dtype that .npy "
        "files hold: convert it inside the model",
        {"place": "the model", "dtype": "torch.float8_e4m3fn"},
    ),
    ("bfloat16-weights", "    return self.numpy()\nTypeError: Got unsupported ScalarType BFloat16", {}),
    (
        "stack-limit",
        "module.mlir:5:25: error: 'func.func' op exceeded stack allocation limit of 32768 bytes for function. Got "
        "240000 bytes\n    %values, %indices = torch.aten.sort %arg0, %int-1, %false : !torch.vtensor<[3,30000],f32>",
        {"limit": "32768", "got": "240000"},
    ),
    (
        "large-vector",
        "error: One or more operations with large vector sizes (8192 bytes) were found:",
        {"bytes": "8192"},
    ),
    (
        "attention-mask",
        "module.mlir:7:10: error: 'tensor.collapse_shape' op expected the expanded type, 'tensor<8x8xf32>' to have a "
        "higher (or same) rank than the collapsed type, 'tensor<1x8x8xf32>'.\n"
        "    %0 = torch.aten.scaled_dot_product_attention %arg0, %arg1, %arg2, %arg3 : !torch.vtensor<[2,4,8,16],f32>",
        {"mask": "tensor<8x8xf32>"},
    ),
    (
        "tensor-list",
        "module.mlir:7:10: error: failed to legalize operation 'torch.aten.broadcast_to' that was explicitly marked "
        'illegal: %40 = "torch.aten.broadcast_to"(%39, %12) : (!torch.tensor, !torch.list<int>) -> !torch.tensor\n'
        "    %2 = torch.aten.meshgrid.indexing %1, %str : !torch.list<vtensor>, !torch.str -> !torch.list<vtensor>",
        {"operation": "torch.aten.meshgrid.indexing"},
    ),
    (
        "tensor-list",
        "module.mlir:5:10: error: failed to legalize operation 'torch.prim.ListConstruct'\n"
        "    %1 = torch.prim.ListConstruct %arg0, %0 : (!torch.vtensor<[7],f32>, !torch.vtensor<[7],f32>)",
        {"operation": "torch.prim.ListConstruct"},
    ),
    (
        "constant-left-over",
        "module.mlir:7:10: error: unimplemented: Only integer/float dtype supported\n"
        "    %2 = torch.aten.mul.Scalar %1, %int2_0 : !torch.vtensor<[4],i8>, !torch.int -> !torch.vtensor<[4],i8>\n"
        "         ^\n<unknown>:0: error: failed to legalize operation 'torch.constant.int'",
        {"text": "unimplemented: Only integer/float dtype supported", "user": "torch.aten.mul.Scalar"},
    ),
    (
        "constant-converted",
        "<unknown>:0: error: 'arith.constant' op failed to verify that all of {value, result} have same type\n"
        '<unknown>:0: note: see current operation: %6 = "arith.constant"() <{value = '
        "dense_resource<torch_tensor_2_3_torch.bfloat16> : tensor<2x3xbf16>}> : () -> tensor<2x3xf32>",
        {"was": "bf16", "wanted": "f32"},
    ),
    (
        "complex-values",
        "module.mlir:7:10: error: unimplemented: Only integer/float dtype supported\n"
        "    %2 = torch.aten.mul.Scalar %1, %int2_0 : !torch.vtensor<[4,64],complex<f32>>, !torch.int -> "
        "!torch.vtensor<[4,64],complex<f32>>\n         ^\n"
        "<unknown>:0: error: failed to legalize operation 'torch.constant.int'",
        {"operation": "torch.aten.mul.Scalar", "bits": "32"},
    ),
    (
        "bool-operation",
        "module.mlir:7:10: error: failed to legalize operation 'torch.aten.__and__.Tensor'",
        {"operation": "and"},
    ),
    (
        "model-import",
        "job_script.ModelFault: the import of mine.py raised ModuleNotFoundError: No module named 'no_such_package'",
        {"place": "the import of mine.py", "text": "No module named 'no_such_package'"},
    ),
    (
        "model-raised",
        "ValueError: no weights here\n\nThe above exception was the direct cause of the following exception:\n\n"
        "job_script.ModelFault: model() raised ValueError: no weights here",
        {"place": "model()", "text": "ValueError: no weights here"},
    ),
    (
        "model-raised",
        "job_script.ModelFault: the model on its inputs() raised RuntimeError: mat1 and mat2 shapes cannot be "
        "multiplied (2x3 and 4x2)",
        {"place": "the model on its inputs()", "text": MATRICES},
    ),
    (
        "model-file",
        "__main__.ModelFault: model() gave an object of type dict, expected a torch.nn.Module",
        {"text": "model() gave an object of type dict, expected a torch.nn.Module"},
    ),
    (
        "data-dependent",
        'Traceback (most recent call last):\n  File "export.py", line 90, in main\n'
        "torch._dynamo.exc.Unsupported: Data-dependent branching\n",
        {"text": "Data-dependent branching"},
    ),
    (
        "data-dependent",
        "torch._dynamo.exc.UserError: Consider annotating your code using torch._check*(). Could not extract "
        "specialized integer from data-dependent expression TruncToInt(zuf0) (unhinted: TruncToInt(zuf0)).",
        {"text": "Could not extract specialized integer from data-dependent expression TruncToInt"},
    ),
    (
        "data-dependent",
        "torch._dynamo.exc.UserError: Dynamic control flow is not supported at the moment. Please use "
        "functorch.experimental.control_flow.cond to explicitly capture the control flow.",
        {"text": "Dynamic control flow is not supported"},
    ),
    ("module-mutation", "AssertionError: Mutating module attribute hw during export.", {"attribute": "hw"}),
    (
        "python-exception",
        'Traceback (most recent call last):\n  File "export.py", line 90, in main\n'
        "ModuleNotFoundError: Cannot use JinjaTemplateLoader if jinja2 is not installed\n",
        {"type": "ModuleNotFoundError", "text": "Cannot use JinjaTemplateLoader if jinja2 is not installed"},
    ),
]


@pytest.mark.parametrize(("name", "log", "values"), REAL, ids=[f"{row[0]}-{i}" for i, row in enumerate(REAL)])
def test_a_real_message_has_its_signature_and_values(name: str, log: str, values: dict[str, str]) -> None:
    found = recognise(f"EXEC @main\nsome words before\n{log}\n[ 0] bytecode module.main:150 module.mlir:2:8\n")
    assert (found.name, dict(found.values)) == (name, values)
    assert found.message in log
    assert "{" not in found.means


def test_every_row_has_a_real_message() -> None:
    assert {row.name for row in rows()} == {name for name, _, _ in REAL}


def test_the_words_of_a_row_are_there() -> None:
    for row in rows():
        assert row.means and row.next_step, row.name


def test_a_backend_s_own_row_comes_before_that_of_any_exception() -> None:
    log = "AssertionError: Unsupported function types ['_linalg_eigh.default']\n"
    assert (recognise(log, "to-so").name, recognise(log, "export").name) == ("tvm-operation", "python-exception")


def test_letters_are_unique_and_no_mark_of_the_square() -> None:
    letters = list(signatures.codes().values())
    assert len(set(letters)) == len(letters)
    marks = [mark for mark in OUTCOME_MARKS.values() if mark]
    for backend in backends():
        early = ["", *(kind.name[0] for kind in backend.stages if kind.judged)]
        shown = [first + second for first in early for second in (*letters, *marks)]
        assert len(set(shown)) == len(shown)
    assert max(map(len, letters)) <= 2
    assert not {"I", "l", "1", "|"} & set(letters)  # strokes, which one takes for a border


def test_a_legend_says_what_each_means_without_values() -> None:
    assert {row.name: row.legend for row in rows() if not row.legend or "{" in row.legend} == {}


@pytest.mark.parametrize("path", [file.with_suffix(".md") for file in run_files(RESULTS)], ids=lambda path: path.stem)
def test_legends_of_the_committed_tables_are_today_s(path: Path) -> None:
    text = path.read_text()
    told = re.findall(r"\| failed at [\w-]+: ([\w-]+) \((.*?)\) *\|", text)
    assert bool(told) == (" failed" in text) and dict(told) == {name: signatures.legends()[name] for name, _ in told}


def test_only_a_full_disk_is_our_own_fault() -> None:
    assert [row.name for row in rows() if row.outcome is Outcome.INFRASTRUCTURE] == ["disk-full"]
    assert [row.name for row in rows() if row.outcome is Outcome.OUT_OF_MEMORY] == [
        "model-allocation",
        "python-memory",
    ]


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("EXEC @main\nc/x.c:1: UNKNOWN; a new failure\nmore", "c/x.c:1: UNKNOWN; a new failure"),
        ("one\n\nlast words\n", "last words"),
        ("", "the job printed nothing"),
        ("error " + "x" * 5000, "error " + "x" * 594),
    ],
)
def test_an_unknown_message_stays_visible(log: str, message: str) -> None:
    found = recognise(log)
    assert (found.name, found.message, found.outcome) == ("unrecognised", message, None)
    assert "signatures.toml" in found.means + found.next_step


MOST_REPEATED = 1000
SECONDS = 0.05


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_every_repeat_of_a_pattern_is_bounded(row: SignatureRow) -> None:
    assert max(longest_repeats(tree_of(row.pattern.pattern)), default=0) <= MOST_REPEATED


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_no_log_takes_a_pattern_long(row: SignatureRow) -> None:
    for log in itertools.islice(hostile_logs(row.pattern.pattern, Random(14), LONGEST_LOG), 12):
        taken = cpu_seconds(row.pattern.search, log)
        assert taken < SECONDS or taken < allowed(SECONDS), log[:80]


def test_a_longer_log_is_searched_from_both_ends() -> None:
    line = "Dialect `" * (1 << 17)  # a line of 1.2 MB
    assert cpu_seconds(recognise, line) < allowed(1.0)
    assert recognise(line + "\nLLVM ERROR: out of registers").name == "llvm-error"
    assert recognise("LLVM ERROR: out of registers\n" + line).name == "llvm-error"
    assert recognise(f"{line}\nLLVM ERROR: out of registers\n{line}").name == "unrecognised"


def cpu_seconds(call: Callable[[str], object], log: str) -> float:
    begun = time.process_time()
    call(log)
    return time.process_time() - begun


# -- an end in the model's own code


STARTED = "in the model's own code: model()\nin the model's own code: the model on its inputs()\n"
STACK = (
    "Fatal Python error: Segmentation fault\n\nCurrent thread 0x0 (most recent call first):\n"
    '  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at\n'
    '  File "/tmp/job/model/mine.py", line 5 in forward\n  File "/x/scripts/export.py", line 275 in computed\n'
)


def test_a_crash_in_the_model_s_own_code_is_the_model_s_and_has_its_line():
    crashed = result("export", Outcome.CRASHED, end="signalled", signal=11, log=STARTED + STACK)
    found = signature_of(crashed)
    assert found.name == "model-crashed"
    assert found.message == "the model on its inputs() ended by signal 11 (SIGSEGV), at line 5 of mine.py"
    assert "plain torch" in found.means and "model file" in found.next_step


DUMP = """Please report issues to https://github.com/iree-org/iree/issues and include the crash backtrace.
Stack dump:
0.\tProgram arguments: /x/iree-compile module.mlir -o module.vmfb
 #0 0x00007f0e8d04c998 llvm::sys::PrintStackTrace(llvm::raw_ostream&, int) (/x/libIREECompiler.so+0x1c998)
 #1 0x00007f0e8d04a73e llvm::sys::RunSignalHandlers() (/x/libIREECompiler.so+0x1a73e)
 #2 0x00007f0e8d04d046 SignalHandler(int, siginfo_t*, void*) Signals.cpp:0:0
 #3 0x00007f0e8765a050 (/lib/x86_64-linux-gnu/libc.so.6+0x3c050)
 #4 0x00007f0e91cfd6c0 (anonymous namespace)::Canonicalizer::initialize(mlir::MLIRContext*) Canonicalizer.cpp:0:0
 #5 0x00007f0e8d2b496d mlir::OpPassManager::initialize(mlir::MLIRContext*, unsigned int) (/x/libIREECompiler.so+0x1)
 #6 0x00007f0e8764524a __libc_start_call_main ./csu/../sysdeps/nptl/libc_start_call_main.h:74:3
"""


def test_a_crash_of_a_compiler_has_the_frame_that_matters():
    """The words are those of 3.4.0 that a SIGSEGV ended."""
    found = signature_of(result("compile", Outcome.CRASHED, end="signalled", signal=11, log=DUMP))
    assert found.name == "signal-11"
    assert found.message.endswith("in (anonymous namespace)::Canonicalizer::initialize(mlir::MLIRContext*)")


def test_a_crash_while_it_is_exported_is_not_the_model_s():
    log = f"{STARTED}exporting with iree.turbine.aot\n{STACK}"
    assert signature_of(result("export", Outcome.CRASHED, end="signalled", signal=11, log=log)).name == "signal-11"


def test_the_memory_limit_in_the_model_s_own_code_is_the_model_s():
    over = result("export", Outcome.OUT_OF_MEMORY, end="out_of_memory", log=STARTED)
    assert signature_of(over).name == "model-memory"
    later = result("export", Outcome.OUT_OF_MEMORY, end="out_of_memory", log=f"{STARTED}exporting with it\n")
    assert signature_of(later).name == "memory-limit"


def test_a_model_that_ends_the_process_without_a_word_is_said_to_print_nothing():
    silent = result("export", Outcome.FAILED, exit_code=7, log=STARTED)
    assert signature_of(silent).name == "no-output"


def test_the_words_of_the_log_are_those_of_the_script():
    script = (RESULTS.parent / "scripts" / "export.py").read_text(encoding="utf-8")
    assert repr(signatures.EXPORTING).replace("'", '"') in script and f'"{signatures.OWN_CODE}"' in script


def test_a_run_tells_the_next_step_of_today_and_of_a_former_signature_its_own():
    recorded = {name: {"next": "what was known then"} for name in ("undefined-symbol", "former")}
    run = Run(cells=(), signatures=recorded)
    assert run.next_step("undefined-symbol") == signatures.next_steps()["undefined-symbol"]
    assert run.next_step("former") == "what was known then"
    assert not run.next_step("unknown")
