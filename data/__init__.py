"""What a picture and a label map are, and where labelled pictures come from."""
