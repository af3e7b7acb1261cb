"""Running a trained model's prediction, which is nnU-Net's own."""
