"""The other use of a transposed convolution: giving back a picture from its summary."""
