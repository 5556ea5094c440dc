"""Folds x arms x repeats: classifiers are trained, and their test results become records."""
