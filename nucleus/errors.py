"""What is wrong with what a device was given: where, what was found, what was expected."""


class PlacedError(ValueError):
    """Something given is not what it should be.

    Attributes:
        place: where, such as the recipe's name and the path of the field.
        observed: what was found there.
        expected: what should have been.
    """

    def __init__(self, place: str, observed: str, expected: str) -> None:
        super().__init__(f"{place}: got {observed}, expected {expected}")
        self.place = place
        self.observed = observed
        self.expected = expected


class RecipeError(PlacedError):
    """A recipe is not what the nucleus takes, or asks for what this device does not do."""


class AccessControlError(PlacedError):
    """An `accessControl` that fails its deployment."""


class InterpolationError(PlacedError):
    """A placeholder that the nucleus fails at."""


class DeploymentError(PlacedError):
    """A deployment asks for what cannot be; nothing has changed."""


class DeviceError(Exception):
    """A core device cannot be started or found; the text says where and why."""
