"""Observers that record tasks for TensorBoard and for MLflow."""
