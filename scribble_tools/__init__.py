"""Tools around nnU-Net for scribble annotations: convert, generate, check, look at and score."""
