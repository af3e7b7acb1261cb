"""Pictures of images with label maps over them."""
