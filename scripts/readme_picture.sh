#!/usr/bin/env bash
# The README's picture: stock nnU-Net and stroke support, trained equally long on the demo data, on a
# validation case. Trains what demo/ does not have yet.
set -euo pipefail

out="${1:-$(cd "$(dirname "$0")/.." && pwd)/docs/pictures/readme.png}"
trainer=nnUNetTrainerStrokeSupport_5epochs # one pass
stock=nnUNetTrainer_5epochs
work="$PWD/demo"
export nnUNet_raw="$work/nnUNet_raw"
export nnUNet_preprocessed="$work/nnUNet_preprocessed"
export nnUNet_results="$work/nnUNet_results"
export nnUNet_def_n_proc=2
export nnUNet_compile="${nnUNet_compile:-f}"
dataset="$nnUNet_raw/Dataset999_DemoHearts"
models="$nnUNet_results/Dataset999_DemoHearts"
validation=__nnUNetPlans_small__2d/fold_0/validation

[ -f "$nnUNet_preprocessed/Dataset999_DemoHearts/nnUNetPlans_small.json" ] || bash "$(dirname "$0")/demo.sh"
device=$(python -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')
for name in "$stock" "$trainer"; do
    [ -d "$models/$name$validation" ] ||
        nnUNetv2_train 999 2d 0 -tr "$name" -p nnUNetPlans_small -device "$device"
done

# predictions are titled by the folders in which they differ
titled=$(mktemp -d)
trap 'rm -rf "$titled"' EXIT
ln -s "$models/$stock$validation" "$titled/stock nnU-Net"
ln -s "$models/$trainer$validation" "$titled/stroke support"
case=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))[0]["val"][0])' \
    "$dataset/splits_final.json")
scribble_tools preview --image "$dataset/imagesTr/${case}_0000.nii.gz" \
    --scribble "$dataset/labelsTr/$case.nii.gz" --slice 3 \
    --pred "$titled/stock nnU-Net/$case.nii.gz" "$titled/stroke support/$case.nii.gz" \
    --ref "$dataset/labelsTr_dense/$case.nii.gz" --out "$titled/$case.png"
# 256 colours, chosen so that the few of the labels stay what they are, and a seventh of the size
python -c 'import sys; from PIL import Image; Image.open(sys.argv[1]).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(sys.argv[2], optimize=True)' \
    "$titled/$case.png" "$out"
echo "wrote $out"
