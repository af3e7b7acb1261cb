"""Files of strangers: what a checkpoint or a pickle holds, without running anything in it."""
