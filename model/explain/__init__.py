"""``fcn explain``: what a transposed convolution is, in numbers."""
