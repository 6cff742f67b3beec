"""The log → state again: beside the live one, as of any instant, to compare and to swap."""
