"""What the nodes do: plain functions on the host's tensors and a `Host`, free of ComfyUI."""
