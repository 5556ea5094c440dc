"""GAN training: losses, networks, and the one-stage step that trains both networks at once."""
