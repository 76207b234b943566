"""Sources of labelled pictures, one file each; ``catalogue`` opens them by name."""
