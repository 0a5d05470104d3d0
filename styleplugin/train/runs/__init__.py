"""The runs of each kind of student: its phases, in order."""
