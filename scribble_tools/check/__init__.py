"""Finding what would spoil a training, all at once."""
