#!/usr/bin/env bash
# All that a GPU has to show, in one command of less than five minutes, without network and data:
#
#     bash benchmarks/gpu.sh OUT
#
# Needs a `python` (or $PYTHON) with torch and what this package depends on, installed or on
# PYTHONPATH. Writes OUT/table.txt, OUT/gpu.json with every figure, and OUT/log.txt with all that was
# printed. A part that fails or has no time left is named in the table, and the others go on.
# Where torch sees no GPU the same runs at a tiny size, which shows no more than that it works.
# Exit status 1: something failed, or is missing.
#
# GPU_SECONDS: for all of it (default: 270). GPU_SIZE: planned, reduced or tiny, see step.py.
# GPU_TRAINERS: whose steps are taken (default: those of step.py), the first for comparison.
set -uo pipefail

if (($# != 1)); then
    echo "usage: bash benchmarks/gpu.sh OUT" >&2
    exit 2
fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
code=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
here="$code/benchmarks"
work=$(mktemp -d)
python=$(command -v "${PYTHON:-python}" || command -v python3)
seconds=${GPU_SECONDS:-270}
device=$("$python" -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')
size=${GPU_SIZE:-$([ "$device" = cuda ] && echo planned || echo tiny)}
epochs=$([ "$device" = cuda ] && echo 5 || echo 3) # of the main job
iterations=$([ "$device" = cuda ] && echo 40 || echo 2) # of each of them
slow=$([ "$device" = cuda ] && echo 1 || echo 4) # times the limits of the parts
rounds=$([ "$device" = cuda ] && echo 7 || echo 1)
memory=$([ "$device" = cuda ] && echo memory || echo tensors)
volumes=$([ "$device" = cuda ] && echo "hippocampus_3d large_3d" || echo hippocampus_3d)
read -r -a trainers <<<"${GPU_TRAINERS:-$(sed -n 's/^TRAINERS = //p' "$here/step.py" | tr -d '(",)')}"
short=$(sed -n 's/^trainer=//p' "$code/scripts/demo.sh")

export PYTHONPATH="$code${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
# nnU-Net's first folder wins: there the demo's trainer is one of fewer iterations
export nnUNet_extTrainer="$work/trainers:$code/nnunetv2_pclmix/external_trainers"
export nnUNet_raw="$work/demo/nnUNet_raw" nnUNet_preprocessed="$work/demo/nnUNet_preprocessed"
export nnUNet_results="$work/demo/nnUNet_results"
# what one part compiles another finds
export TORCHINDUCTOR_CACHE_DIR="$work/compiled" TRITON_CACHE_DIR="$work/compiled/triton"
mkdir -p "$work/bin" "$work/trainers" "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"

# The commands, whether or not they are installed. The demo's doctor is a part of its own here.
command_of() { # NAME MODULE FUNCTION
    printf '#!/bin/sh\nexec "%s" -W ignore -c "from %s import %s as f; import sys; sys.exit(f())" "$@"\n' \
        "$python" "$2" "$3" >"$work/bin/$1"
}
command_of nnunetv2_pclmix nnunetv2_pclmix.cli main
command_of scribble_tools scribble_tools.cli main
command_of nnUNetv2_train nnunetv2.run.run_training run_training_entry
command_of nnUNetv2_predict nnunetv2.inference.predict_from_raw_data predict_entry_point
command_of nnUNetv2_plan_and_preprocess \
    nnunetv2.experiment_planning.plan_and_preprocess_entrypoints plan_and_preprocess_entry
command_of nnUNetv2_preprocess \
    nnunetv2.experiment_planning.plan_and_preprocess_entrypoints preprocess_entry
sed -i '1a [ "$1" = doctor ] && exit 0' "$work/bin/nnunetv2_pclmix"
# no link: a virtual environment is known by its interpreter's place
printf '#!/bin/sh\nexec "%s" "$@"\n' "$python" >"$work/bin/python"
if [ "$device" = cpu ]; then # less of everything, and no processes beside each command's own
    less() { sed -i "1a case \$1 in $2) set -- \"\$@\" $3 ;; esac" "$work/bin/$1"; }
    less scribble_tools demo-data "--patients 3 --test-patients 1"
    less nnunetv2_pclmix small-plans "--patch 128 112 --batch 2 --features 4 8 16 16"
    less nnUNetv2_plan_and_preprocess -d "-np 1 -npfp 1"
    less nnUNetv2_predict -d "-npp 0 -nps 0"
    export nnUNet_n_proc_DA=1 nnUNet_def_n_proc=1
fi
chmod +x "$work"/bin/*

cat >"$work/trainers/short.py" <<END
from nnunetv2_pclmix.variants import $short as Base


class $short(Base):
    """Epochs of fewer iterations, each with a checkpoint."""

    epochs = $epochs

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = $iterations, 1
        self.save_every = 1
END

part() { # NAME MOST_SECONDS COMMAND...
    local name=$1 limit=$((seconds - SECONDS - 6)) start=$SECONDS status
    (($2 * slow < limit)) && limit=$(($2 * slow))
    shift 2
    if ((limit < 5)); then
        status="not begun: no time left"
    else
        (cd "$work" && PATH="$work/bin:$PATH" timeout --kill-after=3 "$limit" "$@") \
            >"$work/$name.log" 2>&1 </dev/null
        case $? in
            0) status=ok ;;
            124 | 137) status="ended after $limit s: no time left" ;;
            *) status="failed: $(grep -v '^ *$' "$work/$name.log" | tail -1)" ;;
        esac
    fi
    printf '%s\t%s\t%s\n' "$name" "$((SECONDS - start))" "$status" >>"$work/parts.tsv"
    echo "$SECONDS s: $name: $status"
}

finish() {
    local log
    for log in "$work"/*.log; do
        printf '\n==== %s\n' "$(basename "$log" .log)"
        cat "$log"
    done >"$out/log.txt" 2>/dev/null
    timeout 60 "$python" "$here/gpu_figures.py" table "$work" "$out"
    local status=$?
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

echo "device $device, size $size, ${trainers[*]}, $seconds s"
steps=("$python" -W ignore "$here/step.py" --size "$size" --device "$device" --rounds "$rounds")
[ "$device" = cpu ] && steps+=(--threads 1) # two would only wait for each other

# Compiling takes a minute a trainer, but not the GPU: side by side, beside all that is not timed.
if [ "$device" = cuda ]; then
    for trainer in "${trainers[@]}"; do
        part "compile_$trainer" 120 "${steps[@]}" --plans acdc_2d --sections waits \
            --trainers "$trainer" --out "$work/compile_$trainer.json" &
    done
fi
part doctor 60 "$python" -W ignore -m nnunetv2_pclmix.cli doctor &
part continued 120 "$python" -W ignore "$here/gpu_figures.py" continued "$short" "$device" \
    "$work/continued.json" &
part main_job 130 bash "$code/scripts/demo.sh"
part prediction 45 "$python" -W ignore "$here/gpu_figures.py" prediction "$short" \
    "$work/demo/predictions" "$work/prediction.json"
wait

# Timed, so one after the other, and alone.
part steps_2d 100 "${steps[@]}" --plans acdc_2d --sections waits steps parts "$memory" syncs \
    --trainers "${trainers[@]}" --out "$work/steps_2d.json"
export nnUNet_compile=f
# shellcheck disable=SC2086 # a list of words
part steps_3d 80 "${steps[@]}" --plans $volumes --sections waits steps parts "$memory" syncs \
    --trainers "${trainers[@]}" --out "$work/steps_3d.json"
