"""Observers that record tasks for TensorBoard and MLflow."""
