"""Looks as files: color tables, the text files and pictures that hold them, and whether a picture is one."""
