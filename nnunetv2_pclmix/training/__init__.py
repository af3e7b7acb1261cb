"""What a training needs around the method: checkpoints, patches, checks before, scores after."""
