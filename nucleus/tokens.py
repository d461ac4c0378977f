"""The tokens by which components are known on the socket."""

import base64
import secrets
import string

from nucleus.personality import Personality

TOKEN_CHARACTERS = 16
"""Source: aws-greengrass-nucleus, ipc/AuthenticationHandler.java; aws-greengrass-lite,
modules/ggipcd/src/ipc_components.c."""


class Tokens:
    """One token for each component, the same as long as the device runs.

    Neither nucleus keeps them: after its restart all are new, and old ones are refused.
    Source: aws-greengrass-nucleus, ipc/AuthenticationHandler.java.
    """

    def __init__(self, personality: Personality) -> None:
        self._personality = personality
        self._tokens: dict[str, str] = {}
        self._components: dict[str, str] = {}

    def issue(self, component: str) -> str:
        """The component's token: 16 upper-case letters on classic, 16 of base64 on lite."""
        token = self._tokens.get(component)
        if token is None:
            token = self._tokens[component] = self._new()
            self._components[token] = component
        return token

    def component_of(self, token: str) -> str | None:
        """The component whose token this is; None where it is nobody's."""
        return self._components.get(token)

    def _new(self) -> str:
        if self._personality.name == "lite":
            return base64.b64encode(secrets.token_bytes(TOKEN_CHARACTERS * 3 // 4)).decode()
        letters = (secrets.choice(string.ascii_uppercase) for _ in range(TOKEN_CHARACTERS))
        return "".join(letters)
