"""Train and test a classifier for each fold, arm and repeat, and record the results."""
