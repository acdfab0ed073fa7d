#!/bin/bash
# Made by `python -m matrix shards @WORDS@ --shards @SHARDS@ --format slurm`.
#
# bash THIS_FILE FOLDER, on a node that can submit, in the checkout, with the project installed for `python`. FOLDER is
# one that all nodes see: bundles and the table go there. The stores are below TMPDIR, which has to be a node's own disk.
# Two arrays and a last job: exports, then compiles and runs, then the table. A shard whose node fails is queued again.
set -euo pipefail
shared=$(realpath "${1:?a folder that all nodes see, for bundles and the table}")
mkdir -p "$shared"
store=${TMPDIR:-/tmp}/iree-matrix-${SLURM_JOB_ID:-0}
case "${STEP:-submit}" in
  submit)
    first=$(STEP=1 sbatch --parsable --export=ALL --job-name="@NAME@-1" --array="@WAVE_1@" --requeue "$0" "$shared")
    second=$(STEP=2 sbatch --parsable --export=ALL --job-name="@NAME@-2" --array="@WAVE_2@" --requeue \
      --dependency="afterany:$first" "$0" "$shared")
    STEP=table sbatch --export=ALL --job-name="@NAME@" --dependency="afterany:$second" "$0" "$shared"
    exit
    ;;
  1)
    python -m matrix run @WORDS@ --wave 1 --shard "$SLURM_ARRAY_TASK_ID/@SHARDS@" --store "$store" \
      --bundle "$shared/1-$SLURM_ARRAY_TASK_ID.zip"@MEANS@
    ;;
  2)
    python -m matrix merge "$shared"/1-*.zip --store "$store"
    python -m matrix run @WORDS@ --wave 2 --shard "$SLURM_ARRAY_TASK_ID/@SHARDS@" --store "$store" \
      --bundle "$shared/2-$SLURM_ARRAY_TASK_ID.zip"@MEANS@
    ;;
  table)
    python -m matrix merge "$shared"/[12]-*.zip --store "$store"
    python -m matrix show @WORDS@ --store "$store" --format json --output "$shared/run.json"
    python -m matrix show @WORDS@ --store "$store"
    ;;
esac
rm -rf "$store"
