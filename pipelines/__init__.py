"""Combine images and classifiers: pipelines, statistics, reports and the command line."""
