"""What comes in from outside, checked before anything is opened: names, amounts, files, values."""
