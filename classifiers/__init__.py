"""Image classifiers: small CNNs, their training and their metrics."""
