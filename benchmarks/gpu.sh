#!/usr/bin/env bash
# All that a GPU has to show, in one command of less than five minutes, without network and data:
#
#     bash benchmarks/gpu.sh OUT
#
# Needs a `python` (or $PYTHON) with torch and what this package depends on, installed or on
# PYTHONPATH. Where torch sees no GPU the same runs at a tiny size, which shows no more than that it
# works.
#
# First, alone: steps that are not compiled, for at most 110 of 270 s. Then side by side the main
# job, a training that is killed and continued, doctor, a prediction on the CPU, and a process that
# compiles. When all others have ended, or are ended with 35 s left, that process times its steps.
# What is not compiled with 23 s left is not timed.
#
# OUT/parts/ is written while it runs: figures (after every section of every plan) and log of each
# part, so that they outlast whatever ends it. At the end OUT/table.txt, OUT/gpu.json with every
# figure, and OUT/log.txt with all that was printed. A part that fails, is ended or has no time left
# is named in the table, and the others go on. Exit status 1: there is one, figures are missing, or a
# kernel of ours does not run or does not give what torch gives.
#
# GPU_SECONDS: for all of it (default: 270); all limits grow and shrink with it.
# GPU_SIZE: planned, reduced or tiny, see step.py.
# GPU_TRAINERS: whose steps are taken (default: those of step.py), the first for comparison.
set -uo pipefail

if (($# != 1)); then
    echo "usage: bash benchmarks/gpu.sh OUT" >&2
    exit 2
fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
parts="$out/parts"
rm -rf "$parts" "$out/table.txt" "$out/gpu.json" "$out/log.txt" # of an earlier run
mkdir "$parts" || exit 2
code=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
here="$code/benchmarks"
work=$(mktemp -d)
python=$(command -v "${PYTHON:-python}" || command -v python3)
seconds=${GPU_SECONDS:-270}
device=$("$python" -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')
size=${GPU_SIZE:-$([ "$device" = cuda ] && echo planned || echo tiny)}
iterations=$([ "$device" = cuda ] && echo 30 || echo 2) # of each epoch of the main job
rounds=$([ "$device" = cuda ] && echo 7 || echo 1)
memory=$([ "$device" = cuda ] && echo memory || echo tensors)
volumes=$([ "$device" = cuda ] && echo "hippocampus_3d large_3d" || echo hippocampus_3d)
read -r -a trainers <<<"${GPU_TRAINERS:-$(sed -n 's/^TRAINERS = //p' "$here/step.py" | tr -d '(",)')}"
short=$(sed -n 's/^trainer=//p' "$code/scripts/demo.sh")

# Moments, in seconds since the start.
end=$((seconds - 6)) # then the table is written
eager_end=$((seconds * 110 / 270 + SECONDS))
((eager_end < end)) || eager_end=$end
beside_end=$((seconds - seconds * 38 / 270)) # ended parts take up to three seconds to end
ready_end=$((seconds - seconds * 23 / 270))

export PYTHONPATH="$code${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
# nnU-Net's first folder wins: there the demo's trainer is one of fewer iterations
export nnUNet_extTrainer="$work/trainers:$code/nnunetv2_pclmix/external_trainers"
export nnUNet_raw="$work/demo/nnUNet_raw" nnUNet_preprocessed="$work/demo/nnUNet_preprocessed"
export nnUNet_results="$work/demo/nnUNet_results"
export nnUNet_n_proc_DA=${nnUNet_n_proc_DA:-$([ "$device" = cuda ] && echo 4 || echo 1)}
export TORCHINDUCTOR_CACHE_DIR="$work/compiled" TRITON_CACHE_DIR="$work/compiled/triton"
mkdir -p "$work/bin" "$work/trainers" "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"

# The commands, whether or not they are installed, with less to do: starts of Python are what takes
# long, and the GPU has nothing to show in them. The demo's doctor is a part of its own here.
command_of() { # NAME MODULE FUNCTION WORDS: they make it less, where its first is -d or demo-data
    cat >"$work/bin/$1" <<END
#!/bin/sh
[ "\$1" = doctor ] && exit 0
case \$1 in -d | demo-data) set -- "\$@" $4 ;; esac
exec "$python" -W ignore -c "
import contextlib, sys
sys.path.append('$here')
from in_threads import pools_of_threads
from $2 import $3 as function
with pools_of_threads() if '$1'.endswith('preprocess') else contextlib.nullcontext():
    sys.exit(function())" "\$@"
END
}
planning=nnunetv2.experiment_planning.plan_and_preprocess_entrypoints
patients=$([ "$device" = cuda ] && echo 6 || echo 3)
command_of nnunetv2_pclmix nnunetv2_pclmix.cli main ""
command_of scribble_tools scribble_tools.cli main "--patients $patients --test-patients 1"
command_of nnUNetv2_train nnunetv2.run.run_training run_training_entry ""
command_of nnUNetv2_predict nnunetv2.inference.predict_from_raw_data predict_entry_point \
    "-npp 0 -nps 0"
command_of nnUNetv2_plan_and_preprocess "$planning" plan_and_preprocess_entry "-np 1 -npfp 1"
command_of nnUNetv2_preprocess "$planning" preprocess_entry "-np 1"
# The demo asks it for the device, which is known; and no link, as a virtual environment is known by
# its interpreter's place.
cat >"$work/bin/python" <<END
#!/bin/sh
case \$2 in *cuda.is_available*) echo $device && exit ;; esac
exec "$python" "\$@"
END
if [ "$device" = cpu ]; then
    less="--patch 128 112 --batch 2 --features 4 8 16 16"
    sed -i "2i case \$1 in small-plans) set -- \"\$@\" $less ;; esac" "$work/bin/nnunetv2_pclmix"
    export nnUNet_def_n_proc=1
fi
chmod +x "$work"/bin/*

cat >"$work/trainers/short.py" <<END
from nnunetv2_pclmix.variants import $short as Base


class $short(Base):
    """Few epochs of few iterations, each with a checkpoint."""

    epochs = 3

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = $iterations, 1
        self.save_every = 1
END

say() {
    echo "$SECONDS s: $*" | tee -a "$parts/gpu.sh.log"
}

last_words() { # LOG: its last line that says something, in at most 90 characters
    tr '\r' '\n' <"$1" | sed "s|$work/||g; s/^ *//" | grep -a '[[:alpha:]]' |
        grep -av 'Warning\|warn(\|it/s]\|s/it]' | tail -1 | tr '\t' ' ' | cut -c 1-90
}

part() { # NAME END COMMAND...
    local name=$1 limit=$(($2 - SECONDS)) start=$SECONDS status log="$parts/$1.log"
    shift 2
    if ((limit < 5)); then
        status="not begun: no time left"
    else
        say "$name begins, for at most $limit s"
        { # what bash says of a process that is killed, the outcome says too
            (cd "$work" && PATH="$work/bin:$PATH" timeout --kill-after=3 "$limit" "$@") \
                >"$log" 2>&1 </dev/null
        } 2>/dev/null
        case $? in
            0) status=ok ;;
            124 | 137) status="ended after $limit s: no time left" ;;
            *)
                status=$(last_words "$log")
                [[ $status = "not "*": "* ]] || status="failed: $status"
                ;;
        esac
    fi
    printf '%s\t%s\t%s\n' "$name" "$((SECONDS - start))" "$status" >>"$parts/parts.tsv"
    say "$name: $status"
}

finish() {
    local log
    for log in "$parts/gpu.sh.log" "$parts"/[!g]*.log; do
        printf '\n==== %s\n' "$(basename "$log" .log)"
        tr '\r' '\n' <"$log"
    done >"$out/log.txt" 2>/dev/null
    timeout 60 "$python" "$here/gpu_figures.py" table "$parts" "$out"
    local status=$?
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

say "device $device, size $size, ${trainers[*]}, $seconds s"
steps=("$python" -W ignore "$here/step.py" --size "$size" --device "$device" --rounds "$rounds"
    --sections steps "$memory" syncs waits parts)
[ "$device" = cpu ] && steps+=(--threads 1) # two would only wait for each other
figures=("$python" -W ignore "$here/gpu_figures.py")

# shellcheck disable=SC2086 # a list of words
nnUNet_compile=f part steps_eager "$eager_end" "${steps[@]}" --plans acdc_2d $volumes \
    --trainers "${trainers[@]}" --out "$parts/steps_eager.json"

# The last first: if time is short, those between are left out.
ordered=("${trainers[0]}")
for ((i = ${#trainers[@]} - 1; i > 0; i--)); do ordered+=("${trainers[i]}"); done
part steps_compiled "$end" "${steps[@]}" --plans acdc_2d --trainers "${ordered[@]}" \
    --ready-by $(($(date +%s) + ready_end - SECONDS)) --begin-when "$work/alone" \
    --out "$parts/steps_compiled.json" &
part doctor "$beside_end" "$python" -W ignore -m nnunetv2_pclmix.cli doctor &
beside=($!)
part main_job "$beside_end" bash "$code/scripts/demo.sh" &
beside+=($!)
part continued "$beside_end" "${figures[@]}" continued "$short" "$device" "$parts/parts.tsv" \
    "$parts/continued.json" &
beside+=($!)
part prediction "$beside_end" "${figures[@]}" prediction "$short" "$work/demo/predictions" \
    "$parts/parts.tsv" "$parts/prediction.json" &
beside+=($!)
wait "${beside[@]}"
touch "$work/alone"
wait
