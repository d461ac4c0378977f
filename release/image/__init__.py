"""`edgexgb image`: the image, from its build to the gate at both of its doors."""
