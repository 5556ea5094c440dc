"""Learns from images: small CNNs, their training and their metrics."""
