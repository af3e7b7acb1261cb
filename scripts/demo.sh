#!/usr/bin/env bash
# The main job on synthetic data: scribbles in, segmentations and scores out. Called by `make demo`;
# with the package installed it runs from anywhere and works in the folder demo/.
set -euo pipefail

work="$PWD/demo"
export nnUNet_raw="$work/nnUNet_raw"
export nnUNet_preprocessed="$work/nnUNet_preprocessed"
export nnUNet_results="$work/nnUNet_results"
export nnUNet_def_n_proc="${nnUNet_def_n_proc:-2}" # nnU-Net would start 8 workers for a handful of small volumes
export nnUNet_compile="${nnUNet_compile:-f}" # compiling takes longer than this training
device=$(python -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')
if [ "$device" = cpu ]; then
    # this network is so small that threads, and workers, only wait for each other
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" nnUNet_n_proc_DA="${nnUNet_n_proc_DA:-1}"
fi
trainer=nnUNetTrainerPCLMix_5epochs
dataset="$nnUNet_raw/Dataset999_DemoHearts"
model="$nnUNet_results/Dataset999_DemoHearts/${trainer}__nnUNetPlans_small__2d"
# what an earlier run of this script left
rm -rf "$nnUNet_preprocessed/Dataset999_DemoHearts" "$model" "$work/predictions"
mkdir -p "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"

set -x # show every command
nnunetv2_pclmix doctor
scribble_tools demo-data --out "$nnUNet_raw" --overwrite
nnUNetv2_plan_and_preprocess -d 999 -c 2d -np 2 -npfp 2 --clean
nnunetv2_pclmix small-plans 999 --spacing 3 3 --patch 64 64 --batch 3 --features 16 32 64 64
nnUNetv2_preprocess -d 999 -plans_name nnUNetPlans_small -c 2d -np 2
nnUNetv2_train 999 2d 0 -tr "$trainer" -p nnUNetPlans_small -device "$device"
nnUNetv2_predict -d 999 -c 2d -f 0 -tr "$trainer" -p nnUNetPlans_small -device "$device" \
    -i "$dataset/imagesTs" -o "$work/predictions" -npp 1 -nps 1
scribble_tools evaluate "$work/predictions" "$dataset/labelsTs_dense" --out "$work/scores" --overwrite
scribble_tools report --dataset 999 --model "$model" --fold 0 --out "$work/report.html" --overwrite
{ set +x; } 2>/dev/null

# a validation case: it has a scribble to show, and was not trained on
case=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))[0]["val"][0])' \
    "$dataset/splits_final.json")
scribble_tools preview --image "$dataset/imagesTr/${case}_0000.nii.gz" \
    --scribble "$dataset/labelsTr/$case.nii.gz" \
    --pred "$model/fold_0/validation/$case.nii.gz" \
    --ref "$dataset/labelsTr_dense/$case.nii.gz" --out "$work/picture.png" --overwrite
echo "done. Scores: $work/scores; image, scribble, prediction and reference: $work/picture.png"
echo "All of it to look at, open it in a browser: $work/report.html"
