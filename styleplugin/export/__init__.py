"""What leaves the program: looks, students for other programs, models for the Hub."""
