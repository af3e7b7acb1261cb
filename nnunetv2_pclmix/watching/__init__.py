"""What a training tells of itself: diagnostics, curves, snapshots, early warnings."""
