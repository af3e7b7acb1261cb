"""Where to draw next: the slices and places where a stroke would teach most."""
