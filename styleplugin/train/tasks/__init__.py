"""What is learned: the losses of each kind of student."""
