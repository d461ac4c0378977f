"""What is predicted: bundles of a model, and the engines that serve them."""
