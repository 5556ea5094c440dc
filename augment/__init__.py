"""Generate synthetic training images: data sources, the one-stage conditional GAN, sampling and fidelity metrics."""
