"""Puts images and classifiers together: pipelines, statistics, reports and the command line."""
