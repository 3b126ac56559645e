#!/usr/bin/env bash
# Trains vdit-mini from nothing, and the same head on a UNet with random weights; measures both.
#
#   tools/train_mini.sh FOLDER [NAME=VALUE ...]
#
# FOLDER, seen from the top of the repository, becomes the model, FOLDER-random the comparison,
# FOLDER-clips holds what is rendered, FOLDER-training the runs and scores.json. Changes such as
# run.steps=3 go to all stages with steps.
# Stopped by Ctrl-C, it goes on where it was. It takes two cores: a stage has two threads or two
# processes, and the two heads are trained side by side; where one fails, the other goes on to its
# end.
# VDIT and PYTHON name the command and an interpreter that has it (default: vdit, python3).
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?usage: tools/train_mini.sh FOLDER [NAME=VALUE ...]}
shift
changes=("$@")
vdit=${VDIT:-vdit}
python=${PYTHON:-python3}
export OMP_NUM_THREADS=1

prepare() { # FOLDER STAGE: one without steps
  local done="$1-training/$2.done"
  [ -f "$done" ] && return
  "$vdit" train "configs/mini/$2.yaml" -o "$1"
  mkdir -p "$1-training" && touch "$done"
}

train() { # FOLDER STAGE [COMMAND ...]: one with steps, by `vdit train` or another command
  local work="$1-training/$2" resume=() command=("${@:3}")
  [ -f "$work.done" ] && return
  [ -f "$work/checkpoint.pt" ] && resume=(--resume)
  [ ${#command[@]} = 0 ] && command=("$vdit" train)
  "${command[@]}" "configs/mini/$2.yaml" ${changes[@]+"${changes[@]}"} -o "$1" ${resume[@]+"${resume[@]}"}
  touch "$work.done"
}

compare() { # all networks but the UNet are those of the model
  local random="$folder-random"
  if [ ! -d "$random" ]; then
    cp -r "$folder" "$random.part"
    rm -rf "$random.part"/{unet,scheduler,model.safetensors,config.json}
    mv "$random.part" "$random"
    ln -sfn "$(basename "$folder")-clips" "$random-clips"
  fi
  prepare "$random" 7_untrained
  train "$random" 8_images
  train "$random" 9_referring
}

prepare "$folder" 0_tokenizers
prepare "$folder" 1_pictures
prepare "$folder" 2_clips
OMP_NUM_THREADS=2 train "$folder" 3_autoencoder
OMP_NUM_THREADS=2 train "$folder" 4_towers
train "$folder" 5_words
prepare "$folder" 6_encodings
train "$folder" 7_diffusion "$python" -m torch.distributed.run --standalone --nproc-per-node=2 tools/train.py
compare &
comparison=$!
train "$folder" 8_images
train "$folder" 9_referring
wait "$comparison"
"$python" tools/measure_clips.py --model "$folder" --random-unet "$folder-random" \
  -o "$folder-training/scores.json"
