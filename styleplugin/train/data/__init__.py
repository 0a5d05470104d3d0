"""Training pictures: where they lie, how they are read and cut, what a painter makes of them."""
