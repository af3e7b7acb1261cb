"""Reading, writing and checking image and label files, those of 3D Slicer and ITK-SNAP too."""
