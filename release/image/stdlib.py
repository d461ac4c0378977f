"""What of Python's standard library the image leaves out, and why.

It is a list of what goes, and not of what stays: error paths import lazily, and a module that
nothing was seen to import may be the one that an error needs. So only what has no place in a
program that answers rows over a socket goes. Read in the build stage, by the base's own Python.
"""

DROPPED = {
    "developing and testing": [
        "bdb", "cProfile", "code", "codeop", "compileall", "doctest", "ensurepip", "idlelib",
        "lib2to3", "modulefinder", "pdb", "profile", "pstats", "pyclbr", "pydoc", "pydoc_data",
        "tabnanny", "test", "this", "antigravity", "timeit", "trace", "turtle", "turtledemo",
        "unittest", "venv", "_pyrepl", "__phello__", "__hello__", "rlcompleter", "distutils",
        "pickletools", "symtable", "sitecustomize",
    ],
    "windows, terminals and sound": [
        "chunk", "cmd", "curses", "getpass", "pty", "readline", "sndhdr", "sunau", "tkinter",
        "tty", "wave", "aifc", "crypt", "msilib", "nturl2path", "ossaudiodev", "audioop",
    ],
    "servers and clients of protocols that are not spoken": [
        "asynchat", "asyncore", "cgi", "cgitb", "ftplib", "imaplib", "mailbox", "mailcap",
        "nntplib", "poplib", "smtpd", "smtplib", "socketserver", "telnetlib", "webbrowser",
        "wsgiref", "xmlrpc", "http.server", "http.cookiejar", "http.cookies", "netrc", "uu",
        "xdrlib", "nis",
    ],
    "databases, archives and documents": [
        "dbm", "shelve", "sqlite3", "plistlib", "tarfile", "zipapp", "xml", "html", "bz2", "lzma",
        "imghdr", "pipes",
    ],
    # The device is reached over a socket, by a client with TLS of its own, and hashlib has
    # implementations of its own: slower ones, but OpenSSL would be 7 MB and the most to watch over.
    "OpenSSL": ["ssl", "_ssl", "_hashlib"],
    "processes and interpreters of one's own": ["asyncio", "pyexpat"],
}  # fmt: skip
"""Modules and packages, by reason."""

DROPPED_EXTENSIONS = frozenset({
    "_asyncio", "_bz2", "_crypt", "_curses", "_curses_panel", "_dbm", "_elementtree", "_gdbm",
    "_hashlib", "_interpchannels", "_interpqueues", "_interpreters", "_lsprof", "_lzma", "_sqlite3",
    "_ssl", "_tkinter", "audioop", "nis", "ossaudiodev", "pyexpat", "readline", "_codecs_cn",
    "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw",
})  # fmt: skip
"""Of lib-dynload, by module name: what the modules above need, and East Asian encodings."""

_EAST_ASIAN = ("big5", "cp932", "cp949", "cp950", "euc_", "gb", "hz", "iso2022", "johab", "shift_")
_TESTS = ("_test", "_xx", "xx", "_ctypes_test")


def is_dropped(module: str) -> bool:
    """Whether a module of the standard library, as `package.module`, stays out."""
    names = {name for group in DROPPED.values() for name in group}
    parts = module.split(".")
    if any(".".join(parts[: n + 1]) in names for n in range(len(parts))):
        return True
    if parts[0] == "encodings" and parts[-1].startswith(_EAST_ASIAN):
        return True
    return "tests" in parts or parts[0].startswith("config-")  # the second is for compilers


def is_dropped_extension(module: str) -> bool:
    """Whether an extension module of the standard library stays out."""
    return module in DROPPED_EXTENSIONS or module.startswith(_TESTS)
