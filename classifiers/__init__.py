"""Image classifiers: small CNNs and pretrained networks, their training, their ensembles and their metrics."""
