"""The web page: styleplugin for people who would rather drop a photo than write a line."""
