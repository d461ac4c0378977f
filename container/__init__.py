"""What runs in the image: the Lambda function (and, on a device, the component)."""
