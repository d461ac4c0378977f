from typing import Final

NUMBER: Final[int]
BOOLEAN: Final[int]
TEXTS: Final[int]
NUMBERS: Final[int]
BOOLEANS: Final[int]

class Scanner:
    def __init__(
        self,
        features: tuple[tuple[bytes | None, int, tuple[bytes | float | None, ...]], ...],
        absent_is_missing: bool,
        takes_one_row: bool,
    ) -> None: ...
    def scan(
        self, event: bytes, max_rows: int, /
    ) -> tuple[bytes, int, dict[str, str | int | float | None] | None] | None: ...

def write_numbers(numbers: list[float] | list[list[float]], /) -> str: ...
