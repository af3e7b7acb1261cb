"""From the files that people have to an nnU-Net data set, and predictions back to their labels."""
