"""What can make images of a class. `base` is what all kinds have in common; each kind is one file."""
