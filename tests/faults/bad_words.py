"""Words of the command line that mean nothing, or the wrong thing."""

from __future__ import annotations

from bad_input import rows_of

VERBS = """
rum                                        | VERB | 'rum' | expected one of plan, run, merge
RUN                                        | VERB | 'RUN' | expected one of plan, run
""                                         | VERB | '' | expected one of plan
--store x                                  | VERB | 'x' | expected one of
-x                                         | VERB | nothing | expected
help                                       | VERB | 'help' | expected one of
runn spec.toml                             | VERB | 'runn' | did you mean 'run'?
doctor now                                 | preset | 'now' | expected one of
doctor --all                               | doctor | '--all' | expected no such word
clean store                                | clean | 'store' | expected no such word
compare run.json                           | AFTER.json | nothing | expected
compare                                    | BEFORE.json | nothing | expected
compare run.json other.json run.json       | compare | 'run.json' | expected no such word
whatis                                     | FILE | nothing | expected
whatis model.vmfb model.mlir               | whatis | 'model.mlir' | expected no such word
bundle                                     | TARGET | nothing | expected
bundle armv5 linear -o x                   | TARGET | 'armv5' | expected one of armv6, armv7, riscv64
bundle armv6 -o x                          | MODEL | nothing | expected
bundle armv6 linear                        | --output | nothing | expected
export                                     | MODEL | nothing | expected
export linear                              | --output | nothing | expected
badge                                      | --model | nothing | expected
badge --model linear                       | --output | nothing | expected
advise                                     | --model | nothing | expected
bisect                                     | --axis | nothing | expected
site                                       | --output | nothing | expected
report                                     | --output | nothing | expected
picture                                    | --output | nothing | expected
diff                                       | WHAT | nothing | expected
armv6-lld                                  | FOLDER | nothing | expected
image                                      | SUBVERB | nothing | expected
image bild                                 | SUBVERB | 'bild' | did you mean 'build'?
image save                                 | FOLDER | nothing | expected
image push                                 | REGISTRY/NAME | nothing | expected
image remove                               | --older-than | nothing | expected
"""

OPTIONS = """
run --storr x                              | run | '--storr' | did you mean '--store'?
run --engin venv --engne x                 | run | '--engne' | did you mean '--engine'?
run --jobs 0                               | --jobs | '0' | expected a whole number from 1
run --jobs -1                              | --jobs | '-1' | expected a whole number from 1
run --jobs two                             | --jobs | 'two' | expected a whole number from 1
run --jobs 1.5                             | --jobs | '1.5' | expected a whole number from 1
run --jobs ²                               | --jobs | '²' | expected a whole number from 1
run --jobs 99999999999999999999            | --jobs | '99999999999999999999' | expected a whole number from 1
run --jobs                                 | --jobs | nothing | expected
run --disk-budget 0                        | --disk-budget | '0' | expected gigabytes above 0
run --disk-budget -5                       | --disk-budget | '-5' | expected gigabytes above 0
run --disk-budget nan                      | --disk-budget | 'nan' | expected gigabytes above 0
run --disk-budget inf                      | --disk-budget | 'inf' | expected gigabytes above 0
run --disk-budget 12GB                     | --disk-budget | '12GB' | expected gigabytes above 0
run --format jsno                          | --format | 'jsno' | did you mean 'json'?
run --format                               | --format | nothing | expected
run --format JSON                          | --format | 'JSON' | expected one of table
show --format ""                           | --format | '' | expected one of table
whatis model.vmfb --format xml             | --format | 'xml' | expected one of text, json
run --engine dokcer                        | --engine | 'dokcer' | did you mean 'docker'?
run --engine ""                            | --engine | '' | expected one of venv
run --torch-build rocm                     | --torch-build | 'rocm' | expected one of cuda, cpu
run --to x                                 | --to | '--to' | expected one of --torch
run --store                                | --store | nothing | expected
run --output                               | --output | nothing | expected
run --only                                 | --only | nothing | expected
run --model                                | --model | nothing | expected
run --opset-version x                      | --opset-version | 'x' | expected a whole number from 1
run --opset-version 17                     | --opset-version | '17' | expected a model that is a file
run --opset-version 17 --model model.mlir  | --opset-version | '17' | expected it with .onnx
run --inputs input.npy                     | --inputs | 'input.npy' | expected a model that is a file
run --expected input.npy --model linear    | --expected | 'input.npy' | expected a model that is a file
run --function main                        | --function | 'main' | expected a model that is a file
clean --older-than x                       | --older-than | 'x' | expected days
clean --older-than -3                      | --older-than | '-3' | expected days
clean --older-than nan                     | --older-than | 'nan' | expected days
clean --older-than inf                     | --older-than | 'inf' | expected days
clean --older-than 2026-01-01              | --older-than | '2026-01-01' | expected days
clean --older-than 1e300                   | --older-than | '1e300' | expected days
clean --max-size x                         | --max-size | 'x' | expected gigabytes
clean --max-size nan                       | --max-size | 'nan' | expected gigabytes
clean --max-size -1                        | --max-size | '-1' | expected gigabytes
clean --max-size 10GB                      | --max-size | '10GB' | expected gigabytes
image remove --older-than never            | --older-than | 'never' | expected days
image remove --older-than -1               | --older-than | '-1' | expected days
image verify --sample 0                    | --sample | '0' | expected a whole number from 1
image verify --sample all                  | --sample | 'all' | expected a whole number from 1
image verify --seed abc                    | --seed | 'abc' | expected a whole number
lock --wheels-only --nix-only              | --nix-only | --wheels-only | expected one of them
lock --offline                             | lock | '--offline' | expected no such word
candidates --weight runtimes               | --weight | 'runtimes' | expected NAME=NUMBER
candidates --weight runtime=1              | --weight | 'runtime=1' | did you mean 'runtimes'?
candidates --weight runtimes=              | --weight | 'runtimes=' | expected NAME=NUMBER
candidates --weight runtimes=-1            | --weight | 'runtimes=-1' | a number from 0
candidates --weight runtimes=nan           | --weight | 'runtimes=nan' | a number from 0
candidates --weight runtimes=inf           | --weight | 'runtimes=inf' | a number from 0
candidates --weight runtimes=1e999         | --weight | 'runtimes=1e999' | a number from 0
candidates --weight =1                     | --weight | '=1' | expected NAME=NUMBER
"""

QUESTIONS = """
run portabilty                             | preset | 'portabilty' | did you mean 'portability'?
plan no/such.toml                          | preset | 'no/such.toml' | expected one of
plan folder                                | preset | 'folder' | expected one of
plan binary                                | preset | 'binary' | expected one of
plan empty                                 | empty | format | expected 1
plan taken                                 | taken | line 1 | expected
plan run.json                              | run.json | line 1 | expected
plan ""  --only x                          | --only | 'x' | expected AXIS=VALUE
plan spec.toml --only compilr=3.8.0        | --only | 'compilr=3.8.0' | did you mean 'compiler'?
plan spec.toml --only compiler             | --only | 'compiler' | expected AXIS=VALUE
plan spec.toml --only compiler=            | --only | 'compiler=' | expected AXIS=VALUE
plan spec.toml --only =3.8.0               | --only | '=3.8.0' | expected AXIS=VALUE
plan spec.toml --only compiler=3.99.0      | --only compiler | '3.99.0' | the locks know
plan spec.toml --only compiler=newest      | --only compiler | 'newest' | expected an exact version
plan spec.toml --only compiler=>=99        | --only compiler | >=99 | expected at least one
plan spec.toml --only compiler=3.13.0      | --only compiler | 3.13.0 | expected at least one
plan spec.toml --only target=arm           | --only target | 'arm' | expected
plan spec.toml --only target=mars          | --only target | 'mars' | expected one of
plan spec.toml --only model=linear2        | --only model | 'linear2' | expected one of
plan spec.toml --only flags=O9             | --only flags | 'O9' | expected one of
plan spec.toml --compiler 3.99.0           | axes.compiler | '3.99.0' | the locks know
plan spec.toml --compiler new              | axes.compiler | 'new' | expected an exact version
plan spec.toml --compiler ""               | axes.compiler | '' | expected
plan spec.toml --compiler >=99             | axes.compiler | '>=99' | expected at least one of
plan spec.toml --compiler >=3,x            | axes.compiler | '>=3,x' | expected an exact version
plan spec.toml --compiler >>3              | axes.compiler | '>>3' | expected an exact version
plan spec.toml --compiler 3.8.0.0.1        | axes.compiler | '3.8.0.0.1' | the locks know
plan spec.toml --runtime v3.8.0x           | axes.runtime | 'v3.8.0x' | expected an exact version
plan spec.toml --torch 1.0                 | axes.torch | '1.0' | the locks know
plan spec.toml --turbine 99                | axes.turbine | '99' | the locks know
plan spec.toml --python 2.7                | axes.python | '2.7' | the locks know
plan spec.toml --python three              | axes.python | 'three' | expected an exact version
plan spec.toml --target pdp11              | axes.target | 'pdp11' | expected one of
plan spec.toml --device gpu                | plan | '--device' | expected no such word
plan spec.toml --flags O9                  | axes.flags | 'O9' | expected one of
plan spec.toml --compiler ./none           | toolchain | none' | expected
plan spec.toml --compiler ./folder         | toolchain | folder' | expected iree-compile
plan spec.toml --compiler ./taken          | toolchain | taken' | expected
plan spec.toml --compiler x.whl            | toolchain | x.whl' | expected
plan spec.toml --runtime ./folder          | toolchain | folder' | expected iree-run-module
plan spec.toml --model nosuch              | axes.model | 'nosuch' | expected one of
plan spec.toml --model linaer1             | axes.model | 'linaer1' | did you mean 'linear1'?
plan spec.toml --model nosuch.py           | models.nosuch | nosuch.py' | expected a file
plan spec.toml --model nosuch.mlir         | models.nosuch | nosuch.mlir' | expected a file
plan spec.toml --model nosuch.onnx         | models.nosuch | nosuch.onnx' | expected a file
plan --model nosuch.vmfb                   | models.nosuch | nosuch.vmfb' | expected a file
plan spec.toml --model model.pt            | --model | 'model.pt' | expected a shipped model or a file .py
plan spec.toml --model model.h5            | --model | 'model.h5' | expected a shipped model or a file .py
plan spec.toml --model ./folder            | --model | './folder' | expected a shipped model or a file .py
plan spec.toml --model model.mlir --inputs none.npy    | models.model | none.npy' | expected a file
plan spec.toml --model model.mlir --expected none.npy  | models.model | none.npy' | expected a file
plan spec.toml --model model.mlir --inputs folder      | models.model | folder' | expected a file
why nosuch=1                               | AXIS=VALUE | 'nosuch=1' | expected AXIS=VALUE
why compiler                               | AXIS=VALUE | 'compiler' | expected AXIS=VALUE
why --results run.json compiler=9.9.9      | AXIS=VALUE | compiler=9.9.9 | expected exactly one
why --results run.json                     | AXIS=VALUE | no choice | expected exactly one
why --preset portabilty                    | preset | 'portabilty' | did you mean
bisect --axis compielr                     | --axis | 'compielr' | expected one of
bisect --axis model                        | --axis | linear | expected releases
bisect --preset spec.toml --axis compiler --compiler 3.8.0  | bisect | 3.8.0 | expected two ends
bisect --model linear --axis compiler --good 9.9  | --good | '9.9' | the locks know
bisect --model linear --axis compiler --bad x  | --bad | 'x' | expected an exact version
bisect --model linear --axis compiler --good 3.8.0 --bad 3.8.0  | bisect | 3.8.0 | expected two ends
diff run.json                              | diff | run.json | expected two files
diff compiler 3.8.0                        | diff | compiler 3.8.0 | expected two files
diff compielr 3.8.0 3.9.0                  | diff | compielr | expected two files
diff compiler 3.8.0 3.9.0 3.10.0           | diff | 3.10.0 | expected two files
diff compiler 1.0 3.9.0                    | compiler | '1.0' | expected one of
diff compiler 3.8.0 x                      | compiler | 'x' | expected one of
diff model linear nosuch                   | model | 'nosuch' | expected one of
show run.json --only compiler=3.8.0        | run.json | --only | expected a results file alone
show run.json --model linear               | run.json | --model | expected a results file alone
show nosuch.json                           | nosuch.json | nothing | expected a results file
1: advise --model nosuch                   | model | nosuch | tested:
1: advise --model linear --compiler 9.9    | compiler | 9.9 | tested:
1: advise --model linear --runtime x       | runtime | x | tested:
1: advise --model linear --target mars     | target | mars | tested:
1: badge --model nosuch -o x.svg           | model | nosuch | expected
1: badge --model linear --compiler 9.9 -o x.svg  | compiler | 9.9 | expected
export nosuch -o x.mlir                    | MODEL | 'nosuch' | expected one of
export nosuch.py -o x.mlir                 | MODEL | 'nosuch.py' | expected
export folder -o x.mlir                    | MODEL | 'folder' | expected
export model.mlir -o x.mlir                | MODEL | 'model.mlir' | expected
export linear --torch 1.0 -o x.mlir        | --torch | 1.0 | expected one of
export linear --turbine 99 -o x.mlir       | --turbine | 99 | expected one of
export linear --python 2.7 -o x.mlir       | python | '2.7' | the locks know
export linear --torch-build tpu -o x.mlir  | --torch-build | 'tpu' | expected one of
bundle armv6 nosuch -o x                   | model | 'nosuch' | expected one of
bundle armv6 nosuch.mlir -o x              | MODEL | nosuch.mlir | expected
bundle armv6 linear -o x --route flying    | --route | 'flying' | expected one of
bundle armv6 linear -o x --toolchain gcc9  | --toolchain | 'gcc9' | expected one of
bundle armv6 linear -o x --compiler 1.0    | compiler | '1.0' | the locks know
armv6-smoke --model nosuch                 | model | 'nosuch' | expected one of
armv6-smoke --model nosuch.mlir            | MODEL | nosuch.mlir | expected
armv6-smoke --compiler 1.0                 | compiler | '1.0' | the locks know
armv6-smoke --source ./nowhere             | source | nowhere | expected
armv6-lld x --compiler 1.0                 | compiler | '1.0' | the locks know
armv6-lld folder                           | folder | mine.txt | expected an empty
image plan nosuch                          | preset | 'nosuch' | expected one of
image plan --environment nosuch            | --environment | 'nosuch' | expected the name of a lock
image plan --environment compiler/9.9      | --environment | 'compiler/9.9' | did you mean
"""

WORDS = [row for table in (VERBS, OPTIONS, QUESTIONS) for row in rows_of(table)]
