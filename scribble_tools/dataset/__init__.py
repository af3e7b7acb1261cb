"""nnU-Net's raw data sets: labels, patients, splits, records; how they are written and replaced."""
