"""Segmentation over HTTP, packaged with BentoML."""
