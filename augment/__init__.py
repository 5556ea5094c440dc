"""Makes images: sources, the one-stage conditional GAN, sampling and fidelity."""
