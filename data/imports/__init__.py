"""Exports of labelling tools, read into the project's own folder of pictures and masks."""
