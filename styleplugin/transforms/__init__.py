"""Pure tensor mathematics: moments, affine maps, WCT and AdaIN."""
