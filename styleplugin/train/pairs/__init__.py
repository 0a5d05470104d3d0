"""Encoder-decoder pairs of Collaborative Distillation, for WCT and for AdaIN."""
